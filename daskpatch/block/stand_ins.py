"""What stands for the results of tiles in which nothing is.

What the model makes of nothing need not be nothing: it is computed on a tile of that value, once in
a process, and stitched as any other result.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..image import ImageStack, padding_of
from ..model import Results
from ..values import are_all, constants_of, read_padded
from .stitching import Constants

KEPT = 4
"""Results that stand for others, in a process: of another size, or over an image's end."""


def empty_patch(image: ImageStack, box: Region, value: np.generic) -> NDArray[Any]:
    """What `extract_patch` would give, `C(Z)YX`, of an image that is all of a value."""
    n_channels, shape = image.data_shape[1], tuple(image.data_shape[2:])

    def read(inside: Region) -> NDArray[np.generic]:
        return np.full((n_channels, *inside.shape), value, image.data_dtype)

    padding = padding_of(image)
    if padding is None:
        return read(box)  # all of it lies in the image
    return read_padded(read, box, shape, padding, read(Region(box.start, box.start)))


def ends_at(image: ImageStack, box: Region, value: np.generic) -> Region | None:
    """The part of a box inside an image, counted from its corner, where it is padded otherwise.

    None where all that lies in it is the value.
    """
    shape = tuple(image.data_shape[2:])
    padding = padding_of(image)
    if (
        padding is None
        or isinstance(padding, str)
        or box.lies_in(shape)
        or are_all(np.asarray(padding), value)
    ):
        return None
    inside = box.clipped_to(shape).slices_within(box)
    return Region(tuple(s.start for s in inside), tuple(s.stop for s in inside))


@dataclass(frozen=True)
class StandIn:
    """What the model makes of a tile of one value: its arrays, `C(Z)YX`."""

    results: Results

    @cached_property
    def constants(self) -> Constants | None:
        """Each array's values by channel, where all voxels of a channel are alike."""
        found: Constants = {}
        for name, values in self.results.items():
            constants = constants_of(values)
            if constants is None:
                return None
            found[name] = constants
        return found


class StandIns:
    """Results for tiles of one value, by what they depend on, each computed once in a process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, StandIn] = OrderedDict()
        self._lock = Lock()

    def of(self, key: Hashable, compute: Callable[[], Results]) -> StandIn:
        """The result of a tile; computed by whoever asks first, while others wait."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = StandIn(compute())
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]
