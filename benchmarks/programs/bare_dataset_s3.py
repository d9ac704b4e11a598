"""The bare loop of the benchmark of datasets on S3: one process with pyarrow and its own S3 client."""

import os
import sys
import time
from importlib import import_module

from pyarrow import fs

from benchmarks.programs.bare_dataset import work


def main() -> None:
    """`FOLDER SINK HANDLER ROWS`: each object becomes a part. Prints the seconds."""
    folder, sink, name, rows = sys.argv[1:5]
    module, _, function = name.partition(":")
    handler = getattr(import_module(module), function)
    store = fs.S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"], secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ["AWS_REGION"], endpoint_override=os.environ["AWS_ENDPOINT_URL"],
    )  # fmt: skip
    began = time.perf_counter()
    found = store.get_file_info(fs.FileSelector(folder))
    for path in sorted(file.path for file in found):
        with (
            store.open_input_file(path) as source,
            store.open_output_stream(f"{sink}/{path.rpartition('/')[2]}") as part,
        ):
            work(source, part, handler, int(rows))
    sys.stdout.write(f"{time.perf_counter() - began}\n")


if __name__ == "__main__":
    main()
