"""Where images are predicted, and what is stored elsewhere, from what was asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..image import ImageStack, Mask, mask_of
from ..model import OutputArray
from ..support import counted, shown
from .output import Output


def masks_of(output: Output, images: Sequence[ImageStack]) -> tuple[Mask, ...]:
    """A mask for each image, opened and laid on it; none where all of it is predicted.

    Raises
    ------
    FileNotFoundError, TypeError
        If one is no image.
    ValueError
        If there are more or fewer than images, or one is of another space.
    """
    if output.mask is None:
        return ()
    given: Any = output.mask
    each = list(given) if isinstance(given, list | tuple) else [given]
    if len(each) != len(images):
        raise ValueError(
            f"mask is {shown(given)}, {counted(len(each), 'image')}, the source "
            f"{counted(len(images), 'image')}; give one mask per image, in order: mask=[…]."
        )
    return tuple(map(mask_of, each, images))


def check_fill(output: Output, stored: Sequence[OutputArray]) -> None:
    """Refuse to store outside of a mask what an array cannot hold.

    Raises
    ------
    ValueError
        If one cannot.
    """
    if output.mask is None:
        return
    for array in stored:
        dtype = np.dtype(array.dtype)
        if not holds(dtype, output.fill):
            raise ValueError(
                f"fill is {shown(output.fill)}, and the output's {dtype} holds no such value; give "
                "another, or another dtype=."
            )


def holds(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a dtype has a value: floats have all that are no larger than floats are, rounded."""
    if dtype.kind == "f":
        return not isinstance(value, int) or abs(value) <= sys.float_info.max
    is_whole = isinstance(value, int) or float(value).is_integer()
    if dtype.kind == "b":
        return value in (0, 1)
    info = np.iinfo(dtype)
    return is_whole and info.min <= value <= info.max
