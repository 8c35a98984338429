"""What the user asked of a plan, beside tiling and model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """Layout and limits as they were given; None where daskpatch is to choose."""

    chunks: Any = None
    shards: Any = None
    block_shape: Any = None
    threads: int | None = None
    memory_limit: int | None = None
    io: str = "auto"
