"""What is not given to the model, since nothing is there: see `stand_ins` for its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..image import ImageStack, boxes_of, padding_of, stored_array_of
from ..model import SharedModel, load
from ..store import Occupancy
from ..support import cause_of, failure_told
from ..values import are_all

ABSENT, JUDGED, OUTSIDE = 1, 2, 3
"""Why a block is empty: nothing is stored of it, its voxels were looked at, or it is masked."""


@dataclass(frozen=True)
class Emptiness:
    """What counts as empty, beside what is not stored: voxels of a value, or what a function says.

    The function is given the voxels of a block with its halo, `C(Z)YX`, as they are stored.
    """

    value: float | None = None
    predicate: SharedModel | None = None

    def judged(
        self, voxels: NDArray[Any], absent: np.generic, *, is_any_absent: bool
    ) -> np.generic | None:
        """The value of which a tile stands for these voxels; None where they are not empty.

        `absent` is what is read where nothing is stored: of a store that cannot be listed, reading
        shows whether all of it is.

        Raises
        ------
        ValueError
            If the function fails, or gives no truth.
        """
        if is_any_absent and are_all(voxels, absent):
            return absent
        if self.value is not None and are_all(voxels, self.value):
            value: np.generic = voxels.dtype.type(self.value)
            return value
        is_empty = self.predicate is not None and is_said_empty(self.predicate, voxels)
        return absent if is_empty else None


def is_said_empty(predicate: SharedModel, voxels: NDArray[Any]) -> bool:
    """What a function says of voxels, `C(Z)YX`.

    Raises
    ------
    ValueError
        If it fails, or gives no truth.
    """
    seen = voxels.view()
    seen.flags.writeable = False
    name = predicate.handle.name
    try:
        (said,) = load(predicate)(seen).values()
    except Exception as error:  # noqa: BLE001 (the user's own code)
        raise ValueError(failure_told(f"skip_empty, {name}, failed", error)) from cause_of(error)
    if said.shape != () or said.dtype.kind != "b":
        raise ValueError(
            f"skip_empty, {name}, gave {said.dtype} of shape {said.shape} for voxels of shape "
            f"{voxels.shape}; needed is True or False."
        )
    return bool(said)


def may_be_stored(
    image: ImageStack, occupancy: Occupancy | None, sample_idx: int, box: Region
) -> bool:
    """Whether something that a patch is read from may be stored: without a listing it may."""
    boxes = boxes_of(image, sample_idx, box)
    return occupancy is None or boxes is None or any(map(occupancy.is_any_in, boxes))


def check_there(
    image: ImageStack, occupancy: Occupancy | None, sample_idx: int, box: Region, n_absent: int
) -> None:
    """Refuse a patch that lacks chunks which were listed.

    Raises
    ------
    ChangedError
        If one is gone.
    """
    array = stored_array_of(image)
    if not n_absent or occupancy is None or array is None:
        return
    for each in boxes_of(image, sample_idx, box) or ():
        occupancy.check_there(array, each, n_absent)


def is_padded_by_us(image: ImageStack, box: Region) -> bool:
    """Whether it is known what stands for voxels of a box outside an image, if there are some."""
    return padding_of(image) is not None or box.lies_in(tuple(image.data_shape[2:]))
