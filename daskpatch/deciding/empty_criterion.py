"""What counts as empty, from what was asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..block import Emptiness
from ..image import ImageStack, stored_array_of
from ..output import Output, holds
from ..support import shown


def emptiness_of(output: Output, images: Sequence[ImageStack]) -> Emptiness | None:
    """What of the images is not given to the model; None where all of it is.

    Raises
    ------
    ValueError
        If no voxel of an image can have the value.
    """
    skip: Any = output.skip_empty
    if skip is None:
        return None
    if skip is True:
        _warn_of_whole(images)
        return Emptiness()
    if output.predicate is not None:
        return Emptiness(predicate=output.predicate)
    for dtype in {image.data_dtype for image in images}:
        if not holds(dtype, skip):
            raise ValueError(
                f"skip_empty is {shown(skip)}, and the source's {dtype} holds no such value; give "
                "one that its empty space has."
            )
    return Emptiness(value=skip)


def _warn_of_whole(images: Sequence[ImageStack]) -> None:
    whole = next((image for image in images if stored_array_of(image) is None), None)
    if whole is not None:
        warnings.warn(
            f"skip_empty is True, and {whole.source} is no Zarr array, of which chunks could be "
            "absent: nothing of it is skipped. Give the value of its empty space, skip_empty=0.",
            stacklevel=2,
        )
