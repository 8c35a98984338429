"""One sample of one image, while a region of it is predicted.

```
region ──▶ the tiles that it needs ──▶ one read of their bounding box (padded)
       ──▶ batches of tiles ──▶ model ──▶ stitched into place ──▶ post
```
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..model import load
from ..store import noticing
from ..support import unmasked
from ..values import has_nan
from .calling import Calls, check_results
from .coverage import (
    Tile,
    batches,
    bounding_box,
    bytes_decoded,
    needed_tiles,
    tile_sizes,
    tile_view,
)
from .posting import apply_post, store_post
from .recipe import Prediction
from .stitching import Blend, Crop, Destination, Stitcher
from .workspace import Tally, Workspace


def calls_of(prediction: Prediction, data_idx: int) -> Calls:
    """How the model is called for an image."""
    value_map = None if prediction.maps is None else prediction.maps[data_idx]
    back = value_map if prediction.normalize.undo else None
    return Calls(load(prediction.model), prediction.positions, back)


def normalise(
    prediction: Prediction, data_idx: int, given: NDArray[Any], values: NDArray[Any]
) -> None:
    """Fill what the model is given, `C(Z)YX`, from what was read."""
    value_map = None if prediction.maps is None else prediction.maps[data_idx]
    prediction.normalize.fill(given, values, value_map)


@dataclass(frozen=True)
class Sample:
    """A (Z)YX region of one sample of one image, while it is predicted."""

    prediction: Prediction
    data_idx: int
    sample_idx: int
    region: Region
    targets: Sequence[Destination]
    calls: Calls
    workspace: Workspace
    tally: Tally

    def predict(self) -> None:
        prediction = self.prediction
        grid = prediction.grids[self.data_idx]
        ranges = needed_tiles(prediction, self.data_idx, self.region)
        box = bounding_box(grid, ranges)
        # One read for all tiles: read tile by tile, halos would decode their chunks again and
        # again.
        patch = self._read(box)
        tiles = (tuple(grid.tiles(position)) for position in product(*ranges))
        with self._stitched() as stitcher:
            for group in batches(tiles, self.workspace.limit.of(prediction.batch_size)):
                self._add(group, [tile_view(patch, box, tile) for tile in group], stitcher)
                self.tally.tiles += len(group)

    def _read(self, box: Region) -> NDArray[Any]:
        image = self.prediction.images[self.data_idx]
        self.tally.bytes_read += bytes_decoded(image, box)
        with noticing() as absence:
            patch = image.extract_patch(self.sample_idx, None, box.start, box.shape)
        self.tally.absent += absence.count
        return unmasked(patch, "the source")

    def _add(self, group: list[Tile], cuts: list[NDArray[Any]], stitcher: Stitcher) -> None:
        prediction = self.prediction
        shape = (len(group), len(cuts[0]), *tile_sizes(group[0]))
        specs = [partial(self._specs, tile) for tile in group]
        with self.workspace.buffers.lend(shape, prediction.input_dtype) as batch:

            def fill() -> None:
                for values, given in zip(batch, cuts, strict=True):
                    normalise(prediction, self.data_idx, values, given)

            fill()
            # The filler goes along: a model may have worked in place before it ran out of memory.
            parts = self.calls.within_memory(batch, fill, specs, self.workspace.limit)
            for part, results in parts:
                given_shape = batch[part].shape
                check_results(results, given_shape, prediction.signature, specs[part.start])
                for i, (tile, given) in enumerate(zip(group[part], cuts[part], strict=True)):
                    of_tile = {name: values[i] for name, values in results.items()}
                    self._count(stitcher.add(tile, of_tile), given)

    def _count(self, found: bool, given: NDArray[Any]) -> None:
        """Count a NaN that the model made, or that integers cannot store."""
        # In floats a NaN of the input stays what it was; only those that the model made are news.
        is_stored = all(target.values.dtype.kind == "f" for target in self.targets)
        if found and (not is_stored or not has_nan(given)):
            self.tally.nan_tiles += 1

    @contextmanager
    def _stitched(self) -> Iterator[Stitcher]:
        """What results are added to; at the end they are in the targets."""
        if self.prediction.post is None:
            stitcher = self._stitcher(self.targets)
            yield stitcher
            stitcher.finish()
            return
        outputs = self.prediction.signature.outputs
        with ExitStack() as lent:
            whole = [
                Destination(
                    output.name,
                    slice(None),
                    lent.enter_context(
                        self.workspace.buffers.lend(
                            (output.channels, *self.region.shape), np.dtype(output.dtype)
                        )
                    ),
                )
                for output in outputs
            ]
            stitcher = self._stitcher(whole)
            yield stitcher
            stitcher.finish()
            stitched = {to.name: to.values for to in whole}
            made = apply_post(load(self.prediction.post), stitched, self.region.shape)
            store_post(made, self.prediction.made, self.targets)

    def _stitcher(self, destinations: Sequence[Destination]) -> Stitcher:
        prediction = self.prediction
        if not prediction.blends:
            return Crop(prediction.signature, self.region, destinations)
        step = prediction.grids[self.data_idx].step
        return Blend(prediction.signature, self.region, destinations, prediction.stitch, step)

    def _specs(self, tile: Tile) -> dict[str, Any]:
        grid = self.prediction.grids[self.data_idx]
        return dict(grid.specs_of(self.data_idx, self.sample_idx, tile))
