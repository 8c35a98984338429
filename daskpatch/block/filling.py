"""A region of one image predicted.

```
region ──▶ the tiles that it needs ──▶ one read of their bounding box (padded)
       ──▶ batches of tiles ──▶ model ──▶ stitched into place ──▶ post
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..buffers import BufferPool
from ..conversion import convert, has_nan, store_values
from ..model import Results, load
from ..region import Region
from .calling import BatchLimit, Calls, check_results
from .prediction import Prediction
from .stitching import Blend, Crop, Destination, Stitcher
from .tiles import Tile, bytes_decoded, cut, grouped, needed, sizes, span


@dataclass
class Tally:
    """What a region cost."""

    tiles: int = 0
    nan_tiles: int = 0
    bytes_read: int = 0


@dataclass(frozen=True)
class Part:
    """A box of one of the stored arrays, and where its voxels go."""

    output: int
    region: Region
    values: NDArray[Any]


def predict_region(
    prediction: Prediction, data_idx: int, region: Region, output: int = 0
) -> NDArray[Any]:
    """The prediction of one box of one image, in the stored dtype and order of axes.

    Raises
    ------
    ModelError
        If the model fails on a tile, or gives another shape or a dtype that cannot be stored.
    """
    values = np.empty(region.shape, prediction.dtypes[output])
    part = Part(output, region, values)
    fill_region(prediction, data_idx, [part], Tally(), BufferPool(), BatchLimit())
    return values


def fill_region(
    prediction: Prediction,
    data_idx: int,
    parts: Sequence[Part],
    tally: Tally,
    buffers: BufferPool,
    limit: BatchLimit,
) -> None:
    """`predict_region` into arrays that are there already: boxes of the same samples and space."""
    calls = calls_of(prediction, data_idx)
    dims = prediction.outputs[data_idx][parts[0].output]
    spatial = dims.spatial_part(parts[0].region)
    for sample_idx, position in dims.samples_of(parts[0].region):
        targets = [_destination(prediction, data_idx, part, position) for part in parts]
        _Sample(
            prediction, data_idx, sample_idx, spatial, targets, calls, tally, buffers, limit
        ).predict()


def stitched_sample(
    prediction: Prediction, data_idx: int, sample_idx: int, region: Region
) -> Results:
    """All that the model gives for a (Z)YX box of one sample, stitched, before `post`: `C(Z)YX`."""
    results = {
        output.name: np.empty((output.channels, *region.shape), output.dtype)
        for output in prediction.signature.outputs
    }
    targets = [Destination(name, slice(None), values) for name, values in results.items()]
    plain = replace(prediction, post=None)
    _Sample(
        plain,
        data_idx,
        sample_idx,
        region,
        targets,
        calls_of(prediction, data_idx),
        Tally(),
        BufferPool(),
        BatchLimit(),
    ).predict()
    return results


def predicted_tile(
    prediction: Prediction, data_idx: int, sample_idx: int, tile: Tile, region: Region
) -> Results:
    """What one tile gives for a (Z)YX box of the output that it covers: `C(Z)YX`.

    Raises
    ------
    ModelError
        If the model does not take the tile.
    """
    image = prediction.images[data_idx]
    given = image.extract_patch(sample_idx, None, [t.start for t in tile], sizes(tile))
    batch = np.empty((1, *given.shape), prediction.input_dtype)
    normalise(prediction, data_idx, batch[0], given)

    def specs() -> dict[str, Any]:
        return dict(prediction.grids[data_idx].specs_of(data_idx, sample_idx, tile))

    calls = calls_of(prediction, data_idx)
    ((_, results),) = calls.within_memory(batch, [specs], BatchLimit())
    check_results(results, batch.shape, prediction.signature, specs)
    place = region.slices_within(prediction.signature.given(tile))
    return {name: values[0][(slice(None), *place)] for name, values in results.items()}


def calls_of(prediction: Prediction, data_idx: int) -> Calls:
    """How the model is called for an image."""
    value_map = None if prediction.maps is None else prediction.maps[data_idx]
    back = value_map if prediction.denormalize else None
    return Calls(load(prediction.model), prediction.positions, back)


def normalise(
    prediction: Prediction, data_idx: int, values: NDArray[Any], given: NDArray[Any]
) -> None:
    """Fill what the model is given, `C(Z)YX`, from what was read."""
    if prediction.maps is None:
        convert(values, given)
    else:
        prediction.maps[data_idx].apply(values, given)


def _destination(
    prediction: Prediction, data_idx: int, part: Part, position: tuple[int, ...]
) -> Destination:
    """One sample's place in a part."""
    dims = prediction.outputs[data_idx][part.output]
    values: Any = dims.canonical(part.values)
    name = prediction.stored[part.output].name
    return Destination(name, dims.channel_part(part.region), values[position])


@dataclass(frozen=True)
class _Sample:
    """A (Z)YX region of one sample of one image, while it is predicted."""

    prediction: Prediction
    data_idx: int
    sample_idx: int
    region: Region
    targets: Sequence[Destination]
    calls: Calls
    tally: Tally
    buffers: BufferPool
    limit: BatchLimit

    def predict(self) -> None:
        prediction = self.prediction
        grid = prediction.grids[self.data_idx]
        ranges = needed(prediction, self.data_idx, self.region)
        box = span(grid, ranges)
        patch = self._read(box)
        tiles = (tuple(grid.tiles(position)) for position in product(*ranges))
        with self._stitched() as stitcher:
            for group in grouped(tiles, self.limit.of(prediction.batch_size)):
                self._add(group, [cut(patch, box, tile) for tile in group], stitcher)
                self.tally.tiles += len(group)

    def _read(self, box: Region) -> NDArray[Any]:
        image = self.prediction.images[self.data_idx]
        self.tally.bytes_read += bytes_decoded(image, box)
        return image.extract_patch(self.sample_idx, None, box.start, box.shape)

    def _add(self, group: list[Tile], cuts: list[NDArray[Any]], stitcher: Stitcher) -> None:
        prediction = self.prediction
        shape = (len(group), len(cuts[0]), *sizes(group[0]))
        specs = [partial(self._specs, tile) for tile in group]
        with self.buffers.lend(shape, prediction.input_dtype) as batch:
            for values, given in zip(batch, cuts, strict=True):
                normalise(prediction, self.data_idx, values, given)
            for part, results in self.calls.within_memory(batch, specs, self.limit):
                given_shape = batch[part].shape
                check_results(results, given_shape, prediction.signature, specs[part.start])
                for i, (tile, given) in enumerate(zip(group[part], cuts[part], strict=True)):
                    of_tile = {name: values[i] for name, values in results.items()}
                    self._count(stitcher.add(tile, of_tile), given)

    def _count(self, found: bool, given: NDArray[Any]) -> None:
        """Count a NaN that the model made, or that integers cannot store."""
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
                        self.buffers.lend(
                            (output.channels, *self.region.shape), np.dtype(output.dtype)
                        )
                    ),
                )
                for output in outputs
            ]
            stitcher = self._stitcher(whole)
            yield stitcher
            stitcher.finish()
            self._post({to.name: to.values for to in whole})

    def _stitcher(self, destinations: Sequence[Destination]) -> Stitcher:
        prediction = self.prediction
        if not prediction.blends:
            return Crop(prediction.signature, self.region, destinations)
        step = prediction.grids[self.data_idx].step
        return Blend(prediction.signature, self.region, destinations, prediction.stitch, step)

    def _post(self, stitched: Results) -> None:
        prediction = self.prediction
        assert prediction.post is not None
        made = posted(load(prediction.post), stitched, self.region.shape)
        for target in self.targets:
            values = made.get(target.name)
            expected = next(o.channels for o in prediction.stored if o.name == target.name)
            if values is None or len(values) != expected:
                got = "nothing" if values is None else f"{len(values)} channels"
                raise ValueError(
                    f"post gave {got} for block {self.region.start}; on the trial tile it gave "
                    f"{expected} channels."
                )
            store_values(target.values, values[target.channels])

    def _specs(self, tile: Tile) -> dict[str, Any]:
        grid = self.prediction.grids[self.data_idx]
        return dict(grid.specs_of(self.data_idx, self.sample_idx, tile))


def posted(post: Callable[[Any], Results], stitched: Results, shape: tuple[int, ...]) -> Results:
    """What a function makes of stitched arrays `C(Z)YX`, with a channel axis each.

    Raises
    ------
    ValueError
        If it fails, or changes the size.
    """
    given = stitched[""] if list(stitched) == [""] else stitched
    try:
        made = post(given)
    except Exception as error:
        raise ValueError(f"post failed: {type(error).__name__}: {error}") from error
    named = {
        name: values[None] if values.ndim == len(shape) else values for name, values in made.items()
    }
    for values in named.values():
        if values.ndim != len(shape) + 1 or values.shape[1:] != shape:
            raise ValueError(
                f"post gave shape {values.shape} for a block of {shape}; needed is the block's "
                "own size, with channels first or without: post sees one block at a time, and "
                "can change values and channels, not sizes."
            )
    return named
