"""A ready handler that embeds images with CLIP or a like model of Sentence Transformers."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from pods.agent.handlers import BadItem, Item, Result
from pods.agent.handlers.inputs import file_of
from pods.agent.handlers.sentence_transformers import OnDevices

# Images are read, downloaded and decoded by so many threads.
READERS = 8


class Embedder(OnDevices):
    """Image in, vector out: `handle = Embedder("sentence-transformers/clip-ViT-B-32")`.

    An image is its bytes, in a format that Pillow knows, or an address (http, https). The arguments are
    those of `sentence_transformers.Embedder`, which embeds texts with the same model.
    """

    fields: Sequence[str] = ("image", "payload")

    def setup(self) -> None:
        """Load the model, and start the threads that read images."""
        self._images = import_module("PIL.Image")
        self._unknown = self._images.UnidentifiedImageError
        self._readers = ThreadPoolExecutor(READERS)
        super().setup()

    def teardown(self) -> None:
        """End the threads."""
        self._readers.shutdown()
        super().teardown()

    def input_of(self, item: Item) -> Any:
        """The decoded image."""
        body = file_of(item, self.fields)
        try:
            return self._images.open(io.BytesIO(body)).convert("RGB")
        except self._unknown as exc:  # its own words name an object in memory
            raise BadItem("the image cannot be read: its format is not known") from exc
        except Exception as exc:
            raise BadItem(f"the image cannot be read: {exc}") from exc

    def _read_all(self, batch: Sequence[Item]) -> "list[Result]":
        return list(self._readers.map(self._read, batch))
