"""Whether a handler failed because its batch was too large for the GPU's memory, and how to free some.

No library of a GPU is imported: what the handler uses is in `sys.modules`.
"""

import gc
import sys
from contextlib import suppress

# torch.OutOfMemoryError (before 2.5 torch.cuda.OutOfMemoryError), and CuPy's.
NAMES = {"OutOfMemoryError"}
# These libraries raise an error of no class of its own. onnxruntime 1.32: "Failed to allocate memory for
# requested buffer of size N", "CUDA failure 2: out of memory". CTranslate2 4: "CUDA failed with error
# out of memory". torch 2.13: "CUDA error: CUBLAS_STATUS_ALLOC_FAILED".
MESSAGES = ("out of memory", "failed to allocate memory", "cublas_status_alloc_failed")


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether a smaller batch may fit where this error was raised."""
    if any(of.__name__ in NAMES for of in type(exc).__mro__):
        return True
    by_message = isinstance(exc, RuntimeError) or _library_of(exc) == "onnxruntime"
    return by_message and any(words in str(exc).lower() for words in MESSAGES)


def free() -> None:
    """Free what the failed call left: else a smaller one may not fit either."""
    gc.collect()
    torch = sys.modules.get("torch")
    with suppress(Exception):  # a library that is only half imported
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _library_of(exc: BaseException) -> str:
    return type(exc).__module__.partition(".")[0]
