"""One sample of one image, while a region of it is predicted.

```
region ──▶ the tiles that it needs ──▶ the chunks that these touch, held
       ──▶ batches of tiles, filled from chunks ──▶ model ──▶ stitched into place ──▶ post
```
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import end_if_written_off
from ..geometry import AxisTile, Region
from ..image import ImageStack, absent_value_of
from ..model import Results, Sizing, load
from ..reading import Patch, patch_of, read_box
from ..values import has_nan
from .calling import Calls, check_results
from .coverage import (
    Tile,
    batches,
    bounding_box,
    bytes_decoded,
    needed_tiles,
    tile_box,
    tile_sizes,
)
from .emptiness import (
    ABSENT,
    JUDGED,
    OUTSIDE,
    check_there,
    is_padded_by_us,
    may_be_stored,
)
from .posting import apply_post, store_post
from .recipe import Prediction
from .stand_ins import KEPT, StandIn, empty_patch, ends_at
from .stitching import Blend, Constants, Crop, Destination, Stitcher
from .workspace import BatchLimit, Tally, Workspace

Needed = dict[tuple[Sizing, Region], NDArray[np.bool_] | None]
"""Of regions, with their arrays' sizings, the voxels that are needed; None for all."""


def calls_of(prediction: Prediction, data_idx: int) -> Calls:
    """How the model is called for an image."""
    value_map = None if prediction.maps is None else prediction.maps[data_idx]
    back = value_map if prediction.normalize.undo else None
    return Calls(load(prediction.model), prediction.positions, back)


def normalise(
    prediction: Prediction,
    data_idx: int,
    given: NDArray[Any],
    values: NDArray[Any],
    channels: slice = slice(None),
) -> None:
    """Fill what the model is given, some channels as `C(Z)YX`, from what was read."""
    value_map = None if prediction.maps is None else prediction.maps[data_idx].of_channels(channels)
    prediction.normalize.fill(given, values, value_map)


def predicted(
    prediction: Prediction, data_idx: int, patch: NDArray[Any], specs: Callable[[], dict[str, Any]]
) -> Results:
    """What the model makes of one tile, `C(Z)YX`, normalised as its image; the caller's own.

    Raises
    ------
    ModelError
        If the model does not take it.
    """
    batch = np.empty((1, *patch.shape), prediction.input_dtype)

    def fill() -> None:
        normalise(prediction, data_idx, batch[0], patch)

    fill()
    calls = calls_of(prediction, data_idx)
    ((_, results),) = calls.within_memory(batch, fill, [specs], BatchLimit())
    check_results(results, batch.shape, prediction.signature, specs)
    return {name: values[0].copy() for name, values in results.items()}


@dataclass(frozen=True)
class Sample:
    """(Z)YX regions of one sample of one image, of one place, while they are predicted."""

    prediction: Prediction
    data_idx: int
    sample_idx: int
    targets: Sequence[Destination]
    calls: Calls
    workspace: Workspace
    tally: Tally
    block: int | None = None
    """The index of the block that it is of, if any."""

    def predict(self) -> None:
        try:
            self._predict_needed()
        finally:
            if self.block is not None:
                self.workspace.chunks.use(self.block, self.sample_idx)

    def _predict_needed(self) -> None:
        places = {(to.sizing, to.region) for to in self.targets}
        needed: Needed = {
            (sizing, region): self.prediction.needed(
                self.data_idx, self.sample_idx, region, sizing.scale, self._read_mask
            )
            for sizing, region in places
        }
        if any(each is None or each.any() for each in needed.values()):
            self._predict(needed)
        else:
            self.tally.empty = OUTSIDE
        for to in self.targets:
            inside = needed[to.sizing, to.region]
            if inside is not None:
                to.values[:, ~inside] = self.prediction.fill

    def _read_mask(self, box: tuple[slice, ...]) -> NDArray[Any]:
        mask = self.prediction.masks[self.data_idx].image
        # Numbers below 0 are no image's.
        return read_box(self.workspace.chunks, mask, -1 - self.data_idx, box)

    def _predict(self, needed: Needed) -> None:
        """Predict the regions, or of their tiles those that touch what is needed."""
        prediction = self.prediction
        grid = prediction.grids[self.data_idx]
        ranges = needed_tiles(prediction, self.data_idx, needed)
        positions: Iterable[tuple[int, ...]] = product(*ranges)
        is_masked = any(each is not None for each in needed.values())
        if is_masked:
            positions = [at for at in positions if self._touches(grid.tiles(at), needed)]
            ranges = tuple(
                range(min(along), max(along) + 1) for along in zip(*positions, strict=True)
            )
        box = bounding_box(grid, ranges)
        tiles = (tuple(grid.tiles(position)) for position in positions)
        with self._read(box) as patch:
            if isinstance(patch, np.generic):
                # Of masks `post` sees zeros where no tile is needed.
                self._stand_in(tiles, patch, None if is_masked else self._constants(ranges, patch))
                return
            self.tally.samples += 1
            with self._stitched() as stitcher:
                for group in batches(tiles, self.workspace.limit.of(prediction.batch_size)):
                    end_if_written_off()
                    self._add(group, patch, stitcher)
                    self.tally.tiles += len(group)

    def _touches(self, tile: Iterable[AxisTile], needed: Needed) -> bool:
        """Whether something of a region that is needed comes from a tile."""
        whole = tuple(tile)
        for (sizing, region), inside in needed.items():
            gives = sizing.given(whole) if self.prediction.assembly.blends else sizing.kept(whole)
            part = gives.intersection(region)
            if part is not None and (inside is None or inside[part.slices_within(region)].any()):
                return True
        return False

    @contextmanager
    def _read(self, box: Region) -> Iterator[Patch | np.generic]:
        """The voxels of a box; where it is empty, the value that it is full of."""
        image, occupancy = self._image, self.prediction.occupancy(self.data_idx)
        if not may_be_stored(image, occupancy, self.sample_idx, box):
            self.tally.empty = max(self.tally.empty, ABSENT)
            yield absent_value_of(image)
            return
        self.tally.bytes_read += bytes_decoded(image, box)
        chunks = self.workspace.chunks
        with ExitStack() as held:
            with self.tally.timing("reading"):
                patch = held.enter_context(
                    patch_of(chunks, image, self.data_idx, self.sample_idx, box)
                )
                value = self._judged(patch, box)
            yield patch if value is None else value
            self.tally.absent += patch.n_absent
            check_there(image, occupancy, self.sample_idx, box, patch.n_absent)

    def _judged(self, patch: Patch, box: Region) -> np.generic | None:
        """The value that a box is full of, where it counts as empty."""
        emptiness = self.prediction.emptiness
        if emptiness is None or not is_padded_by_us(self._image, box):
            return None
        voxels = patch.read(box.clipped_to(tuple(self._image.data_shape[2:])))
        value = emptiness.judged(
            voxels, absent_value_of(self._image), is_any_absent=patch.n_absent > 0
        )
        if value is not None:
            self.tally.empty = JUDGED
        return value

    @property
    def _image(self) -> ImageStack:
        return self.prediction.images[self.data_idx]

    def _stand_in(
        self, tiles: Iterator[Tile], value: np.generic, constants: Constants | None
    ) -> None:
        """Put what the model makes of nothing in place of the results of tiles."""
        given = np.asarray(value)
        with self._stitched() as stitcher:
            if constants is not None and stitcher.fill(constants):
                return
            for tile in tiles:
                result = self._result_of(tile, value).results
                self._count(stitcher.add(tile, result), lambda: given)

    def _constants(self, ranges: tuple[range, ...], value: np.generic) -> Constants | None:
        """What the model makes of nothing, where that is the same in all tiles of some ranges."""
        axes = self.prediction.grids[self.data_idx].axes
        shape = self._image.data_shape[2:]
        along = [
            # Tiles of one size that reach as far beyond the image have one result.
            {
                (tile.size, max(-tile.start, 0), max(tile.start + tile.size - n, 0)): tile
                for tile in map(axis.tile, indices)
            }.values()
            for axis, indices, n in zip(axes, ranges, shape, strict=True)
        ]
        if math.prod(map(len, along)) > KEPT:  # one would take another's place, to be made again
            return None
        each = [self._result_of(tile, value).constants for tile in product(*along)]
        told = {None if c is None else tuple(v.tobytes() for v in c.values()) for c in each}
        return each[0] if len(told) == 1 else None

    def _result_of(self, tile: Tile, value: np.generic) -> StandIn:
        """The result of a tile that is all of a value, where it lies in the image."""
        box = tile_box(tile)
        key = (self.data_idx, value.tobytes(), box.shape, ends_at(self._image, box, value))

        def compute() -> Results:
            patch = empty_patch(self._image, box, value)
            return predicted(self.prediction, self.data_idx, patch, partial(self._specs, tile))

        return self.workspace.stand_ins.of(key, compute)

    def _add(self, group: list[Tile], patch: Patch, stitcher: Stitcher) -> None:
        prediction = self.prediction
        shape = (len(group), self._image.data_shape[1], *tile_sizes(group[0]))
        specs = [partial(self._specs, tile) for tile in group]
        put = partial(normalise, prediction, self.data_idx)
        with self.workspace.buffers.lend(shape, prediction.input_dtype) as batch:

            def fill() -> None:
                for values, tile in zip(batch, group, strict=True):
                    patch.fill(values, tile_box(tile), put)

            with self.tally.timing("reading"):
                fill()
            # The filler goes along: a model may have worked in place before it ran out of memory.
            self.workspace.heap.make_room()
            parts = self.calls.within_memory(batch, fill, specs, self.workspace.limit)
            for part, results in self.tally.timing_calls(parts):
                given_shape = batch[part].shape
                check_results(results, given_shape, prediction.signature, specs[part.start])
                for i, tile in enumerate(group[part]):
                    of_tile = {name: values[i] for name, values in results.items()}
                    given = partial(patch.read, tile_box(tile))
                    self._count(stitcher.add(tile, of_tile), given)

    def _count(self, found: bool, given: Callable[[], NDArray[Any]]) -> None:
        """Count a NaN that the model made, or that integers cannot store."""
        # In floats a NaN of the input stays what it was; only those that the model made are news.
        are_floats = all(target.values.dtype.kind == "f" for target in self.targets)
        if found and (not are_floats or not has_nan(given())):
            self.tally.nan_tiles += 1

    @contextmanager
    def _stitched(self) -> Iterator[Stitcher]:
        """What results are added to; at the end they are in the targets."""
        if self.prediction.assembly.function is None:
            stitcher = self._stitcher(self.targets)
            yield stitcher
            stitcher.finish()
            return
        outputs = self.prediction.signature.outputs
        first = self.targets[0]  # all are of one size: plans see to it
        with ExitStack() as lent:
            whole = [
                Destination(
                    output.name,
                    slice(None),
                    first.sizing,
                    first.region,
                    lent.enter_context(
                        self.workspace.buffers.lend(
                            (output.channels, *first.region.shape), np.dtype(output.dtype)
                        )
                    ),
                )
                for output in outputs
            ]
            for to in whole if self.prediction.masks else ():
                to.values[...] = 0  # what no tile reaches: post sees it, and it is not kept
            stitcher = self._stitcher(whole)
            yield stitcher
            stitcher.finish()
            stitched = {to.name: to.values for to in whole}
            made = apply_post(self.prediction.assembly.function, stitched, first.region.shape)
            if store_post(made, self.prediction.made, self.targets):
                self.tally.nan_tiles += 1

    def _stitcher(self, destinations: Sequence[Destination]) -> Stitcher:
        prediction = self.prediction
        if not prediction.assembly.blends:
            return Crop(destinations)
        step = prediction.grids[self.data_idx].step
        return Blend(destinations, prediction.assembly.stitch, step)

    def _specs(self, tile: Tile) -> dict[str, Any]:
        grid = self.prediction.grids[self.data_idx]
        return dict(grid.specs_of(self.data_idx, self.sample_idx, tile))
