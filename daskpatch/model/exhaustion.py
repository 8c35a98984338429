"""Models that run out of memory, on the machine or on a GPU."""

from __future__ import annotations

import gc
import sys

from ..support import text_of


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says so, in whichever way: Python, torch and onnxruntime have their own."""
    name, text = type(error).__name__, text_of(error).lower()
    return (
        isinstance(error, MemoryError)
        or name == "OutOfMemoryError"
        or "out of memory" in text
        or "can't allocate memory" in text
        or "failed to allocate memory" in text
        or "status_alloc_failed" in text  # of cuBLAS and cuDNN
    )


def release_memory() -> None:
    """Give back what a failed call holds: the arrays of its frames, and torch's cache on a GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
