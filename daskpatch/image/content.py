"""What makes an image the same one tomorrow: where it is, what it is, a sample of its voxels."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from ..geometry import Region, RegularGrid
from ..model import module_of
from ..support import DaemonThreads
from .stack import ImageStack
from .told import array_of, chunks_of, is_at_hand, location_of

SAMPLES = 64
"""Boxes that are read; an image of no more is read whole."""

_COMPUTED_SAMPLES = 8
"""The same of an array that is computed, not stored."""

_BOX = 2**18
"""Voxels of a box, where the image has no chunks."""


Read = Callable[[int, Region], NDArray[np.generic]]
"""Gives a (Z)YX box of a sample, `C(Z)YX`."""


def identity_of_image(
    image: ImageStack, samples: int = SAMPLES, readers: int = 1, read: Read | None = None
) -> dict[str, Any]:
    """Facts about an image, as JSON; any of them that differs makes it another image.

    `content` is a digest of `samples` chunks (or boxes of 2^18 voxels) spread evenly over the
    image: of all its voxels where it has no more, else a change may hide between them. Of an array
    that is computed, not stored, it is 8 at most. So many `readers` read at a time, by `read` where
    that is given. Of a file of another format, `file` has its size and time.
    """
    array, read = array_of(image), read or partial(_read, image)
    return {
        "where": _where(image),
        "axes": image.original_axes,
        "shape": list(image.original_data_shape),
        "data_shape": list(image.data_shape),
        "dtype": image.data_dtype.str,
        "channels": getattr(image, "channels", None),
        "padding": _as_text(getattr(image, "padding", None)),
        "content": _content(image, samples, readers, read),
        "file": None if array is None else array.identity(),
    }


def token_of(image: ImageStack) -> str | None:
    """A text that other images do not have, beside what `identity_of_image` tells of this one.

    Of a NumPy array all its voxels, of a Dask array its name; None where an image is another
    array, which may read all that it stands for to tell, or none.
    """
    location = location_of(image)
    if location is not None:
        return location.url
    array = getattr(getattr(image, "array", None), "array", None)
    is_dasks = hasattr(array, "dask") and module_of(type(array)).partition(".")[0] == "dask"
    return str(tokenize(array)) if is_dasks or isinstance(array, np.ndarray) else None


def _where(image: ImageStack) -> str:
    """The URL of a stored array, or its kind of store where that says none; else `memory`."""
    location = location_of(image)
    if location is None or location.lives_in_this_process:
        return "memory"
    return location.url if location.has_address else type(location.store).__name__


def _read(image: ImageStack, sample_idx: int, box: Region) -> NDArray[np.generic]:
    return image.extract_patch(sample_idx, None, box.start, box.shape)


def _content(image: ImageStack, most: int, readers: int, read: Read) -> str:
    samples, _, *spatial = image.data_shape
    shape = tuple(spatial)
    grid = RegularGrid.clipped((samples, *shape), (1, *_box(image, shape)))
    digest = hashlib.sha256()
    # Of a Dask array every box is computed: eight of them are what a plan may cost.
    count = min(grid.n_cells, most if is_at_hand(image) else min(most, _COMPUTED_SAMPLES))

    def read_one(i: int) -> NDArray[np.generic]:
        cell = grid.cell(i * (grid.n_cells - 1) // max(count - 1, 1))
        return read(cell.start[0], Region(cell.start[1:], cell.stop[1:]))

    # A digest has an order; what is read ahead of it is no more than there are readers. Of daemons,
    # for a read that hangs is not to keep the process alive.
    with DaemonThreads(readers, "daskpatch-identity") as pool:
        ahead = deque(pool.submit(read_one, i) for i in range(min(readers, count)))
        for i in range(count):
            voxels = ahead.popleft().result()
            if i + readers < count:
                ahead.append(pool.submit(read_one, i + readers))
            digest.update(_in_order_of(image, voxels).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _in_order_of(image: ImageStack, voxels: NDArray[Any]) -> NDArray[Any]:
    """Voxels in the image's order of bytes, whichever back end read them."""
    given, own = voxels.dtype, image.data_dtype
    is_swapped = given != own and given.newbyteorder() == own
    return np.ascontiguousarray(voxels, own if is_swapped else given)


def _box(image: ImageStack, shape: tuple[int, ...]) -> tuple[int, ...]:
    chunks = chunks_of(image)
    if chunks is not None:
        return tuple(map(min, chunks, shape))
    side = max(1, int(_BOX ** (1 / len(shape))))
    return tuple(min(side, n) for n in shape) if math.prod(shape) > _BOX else shape


def _as_text(padding: str | float | None) -> str | float | None:
    """What JSON has no number for, by its name."""
    if padding is None or isinstance(padding, str) or math.isfinite(padding):
        return padding
    return str(padding)
