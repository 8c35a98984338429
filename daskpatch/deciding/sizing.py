"""How large a model's arrays are: their scales and margins, from what it gives for one tile."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..block import check_result
from ..geometry import Margin, Scale
from ..model import (
    Batch,
    LoadedModel,
    Model,
    ModelError,
    OutputArray,
    Results,
    Signature,
    Sizing,
    describe_tile,
)
from ..probing import ProbedModel, measure_sizes

Shape = tuple[int, ...]

_NAME = re.compile(r"(?!zarr\.json$)[^\W_][\w.-]{0,199}")


def signature_of(
    results: Results, batch: Batch, model: Model, loaded: LoadedModel, specs: dict[str, Any]
) -> Signature:
    """The arrays that a model gives, the largest first, from its results for one tile.

    Where one has another size than the tile, the model is run on a few more sizes, to learn how
    one follows from the other, unless that was said.

    Raises
    ------
    ModelError
        If it gives no arrays, or of a size that does not follow from the tile's.
    ValueError
        If names cannot be those of arrays, or `scale` and `margin` don't fit.
    """
    outputs = [_output_of(name, values, batch) for name, values in results.items()]
    check_names(outputs, "The model")
    if not outputs:
        raise ModelError(
            f"The model gave no array for the trial tile ({describe_tile(specs)}), given "
            f"{batch.shape}; needed is one, (N, C, (Z), Y, X), or a dict, list or tuple of some.",
            specs,
        )
    for output in outputs:
        values = results[output.name]
        needed = (1, output.channels, *_spatial(values, batch))
        with _naming(output.name, results):
            check_result(values, batch.shape, needed, lambda: specs, any_channels=True)
        if 0 in values.shape:
            raise ModelError(
                f"The model gave no voxels for the trial tile ({describe_tile(specs)}). If it cuts "
                "a margin off its tiles, give that (margin=…), else larger tiles (patch_size, "
                "min_size).",
                specs,
            )
    if model.says_size and len({values.shape[2:] for values in results.values()}) > 1:
        raise ValueError(
            "scale and margin say one size, and the model gives several arrays of different "
            f"sizes, {sizes_of(results)}. Leave them out: sizes are found by running the model."
        )
    sizings = {output.name: Sizing.same(batch.ndim - 2) for output in outputs}
    remembered = _Remembered(loaded)
    for name, values in results.items():
        if model.says_size or values.shape[2:] != batch.shape[2:]:
            with _naming(name, results):
                sizings[name] = _sizing(name, values, batch, model, remembered, specs)
    for output in outputs:
        needed = (1, output.channels, *sizings[output.name].tile_shape(batch.shape[2:]))
        check_result(results[output.name], batch.shape, needed, lambda: specs, any_channels=True)
    outputs.sort(key=lambda output: -math.prod(sizings[output.name].scale))
    return Signature(tuple(outputs), tuple(sizings[output.name] for output in outputs))


def check_names(outputs: Sequence[OutputArray], giver: str) -> None:
    """Refuse names that no Zarr array in a group can have.

    Raises
    ------
    ValueError
        If one is such a name.
    """
    for output in outputs if len(outputs) > 1 else ():
        if not _NAME.fullmatch(output.name):
            raise ValueError(
                f"{giver} names an array {output.name!r}; needed are names of up to 200 letters, "
                "digits, '-', '_' and '.', that start with a letter or a digit."
            )


def sizes_of(results: Mapping[str, NDArray[Any]]) -> str:
    """The sizes of arrays of one tile, in words."""
    return ", ".join(f"{name} of {values.shape[2:]}" for name, values in results.items())


@contextmanager
def _naming(name: str, results: Results) -> Iterator[None]:
    """Around a look at one of several arrays: what is wrong with it names it."""
    try:
        yield
    except ModelError as error:
        if len(results) == 1:
            raise
        others = ", ".join(other for other in results if other != name)
        raise ModelError(
            f"{error} That is its array {name!r}, of {len(results)}: give a function that calls "
            f"the model and returns what is an image alone ({others}).",
            error.tile,
        ) from None


class _Remembered:
    """A model that is run once for each size: of what it gave, shapes and dtypes remain."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._known: dict[Shape, Results] = {}

    def only(self, name: str) -> LoadedModel:
        """The model that gives one array alone."""
        return LoadedModel(lambda batch: self._results(batch)[name])

    def _results(self, batch: Batch) -> Results:
        if batch.shape not in self._known:
            self._known[batch.shape] = {
                name: np.broadcast_to(np.zeros((), values.dtype), values.shape)
                for name, values in self._model(batch).items()
            }
        return self._known[batch.shape]


def _output_of(name: str, values: NDArray[Any], batch: Batch) -> OutputArray:
    has_channels = values.ndim == batch.ndim
    return OutputArray(
        max(values.shape[1], 1) if has_channels else batch.shape[1], values.dtype.name, name
    )


def _spatial(values: NDArray[Any], batch: Batch) -> Shape:
    return values.shape[2:] if values.ndim == batch.ndim else batch.shape[2:]


def _sizing(
    name: str,
    values: NDArray[Any],
    batch: Batch,
    model: Model,
    remembered: _Remembered,
    specs: dict[str, Any],
) -> Sizing:
    """Scale and margin of one array."""
    tile, spatial = batch.shape[2:], values.shape[2:]
    sizing = Sizing(*_scale_and_margin(tile, spatial, model, remembered.only(name), batch))
    if 0 in sizing.scale:
        raise ModelError(
            f"The model gave shape {values.shape} for the trial tile ({describe_tile(specs)}), "
            f"given {batch.shape}, and no more for larger tiles; needed is "
            f"(N, C, (Z), Y, X) with a size that follows from the tile's.",
            specs,
        )
    if not model.says_size:
        _check_rounding(sizing, tile, spatial, specs)
    return sizing


def _check_rounding(sizing: Sizing, tile: Shape, spatial: Shape, specs: dict[str, Any]) -> None:
    """Refuse a tile whose size the model rounds down.

    Raises
    ------
    ModelError
        If its result lacks more than those of other sizes.
    """
    if spatial != sizing.tile_shape(tile):
        raise ModelError(
            f"The model gave {spatial} voxels for the trial tile ({describe_tile(specs)}), and for "
            f"others {', '.join(map(str, sizing.scale))} voxels per voxel less margins of "
            f"{sizing.margin}: it rounds this size down. Give patch_size and align as "
            "multiples of its stride, or min_size where an axis is shorter than the tile.",
            specs,
        )


def _scale_and_margin(
    tile: Shape, spatial: Shape, model: Model, loaded: LoadedModel, batch: Batch
) -> tuple[Scale, Margin]:
    """Scale and margin, as they were given, else from results for other sizes."""
    scale, margin = model.scale_of(len(tile)), model.margin_of(len(tile))
    if scale is None and margin is None:
        probed = ProbedModel(loaded, batch.shape[1], len(tile), batch.dtype)
        found = measure_sizes(probed, tile)
        return tuple(along.scale for along in found), tuple(along.sides for along in found)
    if scale is None:
        assert margin is not None
        if spatial == tile and any(map(any, margin)):
            raise ValueError(
                f"margin is {margin}, and the model gave as many voxels as its tile has, {tile}: "
                "it cuts no margin. Leave margin= out; of one that cuts and enlarges give scale=, "
                "too."
            )
        scale = tuple(
            _whole_ratio(m, n - a - b) for n, m, (a, b) in zip(tile, spatial, margin, strict=True)
        )
    return scale, margin or ((0, 0),) * len(tile)


def _whole_ratio(made: int, given: int) -> Fraction:
    """Output voxels per input voxel, if one is a multiple of the other; else 1."""
    if given > 0 and (made % given == 0 or given % made == 0):
        return Fraction(made, given)
    return Fraction(1)
