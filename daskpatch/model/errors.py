"""What is raised when a model fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..support import cause_of


class ModelError(RuntimeError):
    """A model that failed on a tile, or gave what it should not.

    `tile` is the `TileSpecs` it failed on; `reason` the model's own exception, also after a
    journey between processes, where exceptions lose their `__cause__`; None where it would tell
    secrets.
    """

    def __init__(
        self, message: str, tile: Mapping[str, Any], reason: BaseException | None = None
    ) -> None:
        reason = None if reason is None else cause_of(reason)
        super().__init__(message, tile, reason)
        self.tile = dict(tile)
        self.reason = reason
        self.__cause__ = reason

    def __str__(self) -> str:
        return str(self.args[0])


def describe_tile(tile: Mapping[str, Any]) -> str:
    """A tile in a few words.

    >>> describe_tile({"data_idx": 0, "sample_idx": 2, "coords": (0, 8), "patch_size": (4, 4)})
    'image 0, sample 2, coords (0, 8), size (4, 4)'
    """
    return (
        f"image {tile['data_idx']}, sample {tile['sample_idx']}, coords {tuple(tile['coords'])}, "
        f"size {tuple(tile['patch_size'])}"
    )
