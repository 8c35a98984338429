"""One tile from the middle of the data, run through the model once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..block import Calls, apply_post, check_result, is_said_empty
from ..engine import DaemonThreads
from ..geometry import AxisTile, Margin, Scale
from ..model import (
    LoadedModel,
    Model,
    ModelError,
    OutputArray,
    Results,
    Signature,
    advice_for,
    describe_tile,
    is_out_of_memory,
    load,
    restore_threads,
    single_threaded,
)
from ..output import Output
from ..probing import ProbedModel, measure_sizes
from ..support import all_said_by, cause_of, holds_numbers, peak_memory
from ..values import ResultSample
from .agreement import averaging, check_positions, check_undo
from .batching import check_batch
from .labelling import warn_of_labels
from .plan_options import PlanOptions
from .trial_tile import TrialTile

T = TypeVar("T")

_NAME = re.compile(r"(?!zarr\.json$)[^\W_][\w.-]{0,199}")


@dataclass(frozen=True, slots=True)
class Trial:
    """What one call of the model on one tile showed.

    Attributes
    ----------
    given, stored
        The dtypes of the model's own arrays, and what `post` makes of them.
    samples
        A few values of each of the model's own arrays.
    """

    tile: TrialTile
    given: Mapping[str, np.dtype[Any]]
    samples: Mapping[str, ResultSample]
    signature: Signature
    stored: tuple[OutputArray, ...]
    seconds: float
    working_bytes: int

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Of the tile, in voxels of the input."""
        return self.tile.shape


def run_trial(tile: TrialTile, options: PlanOptions, *, side_by_side: bool) -> Trial:
    """Read the tile in the middle of the series and run the model on it.

    A model whose result has another size than its tile is run on a few more sizes, to learn how
    one follows from the other, unless that was said.

    Raises
    ------
    ModelError
        If the model fails, or gives another shape or no numbers; the tile is named.
    ValueError
        If `post` or `skip_empty` fails, or results cannot be mapped back.
    """
    model, normalize = options.model, options.normalize
    patch, specs = tile.read(), dict(tile.specs)
    value_map = tile.value_map(patch)
    loaded = load(model.shared)

    def predict(tiles: Sequence[AxisTile]) -> Results:
        return loaded(tile.batch_of(tile.read(tile.specs_of(tiles)), value_map))

    batch = tile.batch_of(patch, value_map)
    calls = Calls(loaded, model.positions(patch.ndim - 1))
    results, seconds, working = _timed(calls, batch, specs, side_by_side=side_by_side)
    signature = _signature(results, batch, model, loaded, specs)
    check_positions(model, signature)
    # A mean over positions is of floats, whatever the model gives.
    own = loaded(tile.batch_of(patch, value_map)) if model.augment else results
    if options.tiles.batch_size != 1 or loaded.spatial_axes not in (None, patch.ndim - 1):
        check_batch(loaded, tile.batch_of(patch, value_map), own, specs)
    samples = {name: ResultSample.of(values) for name, values in own.items()}
    if options.output.predicate is not None:
        is_said_empty(options.output.predicate, patch)
    is_mask = options.output.dtype is not None and options.output.dtype == "bool"
    if not averaging(model, options.output) and options.output.function is None and not is_mask:
        warn_of_labels(own, signature, tile, predict)
    if normalize.undo and value_map is not None:
        check_undo(normalize, signature, len(patch))
        results = {name: value_map.undo(values[0])[None] for name, values in results.items()}
        signature = signature.with_dtypes({n: values.dtype.name for n, values in results.items()})
    return Trial(
        tile=tile,
        given={name: values.dtype for name, values in own.items()},
        samples=samples,
        signature=signature,
        stored=_stored(results, signature, options.output),
        seconds=seconds,
        working_bytes=working,
    )


def _timed(
    calls: Calls, batch: NDArray[Any], specs: dict[str, Any], *, side_by_side: bool
) -> tuple[Results, float, int]:
    """The results of a call, its seconds, and its working memory in bytes."""

    def call() -> tuple[Results, float]:
        begin = time.perf_counter()
        return calls(batch), time.perf_counter() - begin

    try:
        with peak_memory() as peak:
            results, seconds = as_a_worker(call, side_by_side=side_by_side)
    except Exception as error:  # noqa: BLE001 (the user's own code)
        advice = (
            "There is too little memory for one tile: give a smaller patch_size."
            if is_out_of_memory(error)
            else advice_for(error, batch.shape, batch.dtype.name)
        )
        raise ModelError(
            f"The model failed on the trial tile ({describe_tile(specs)}), given {batch.dtype} "
            f"{batch.shape}: {type(error).__name__}: {all_said_by(error)}"
            + (f". {advice}" if advice else ""),
            specs,
            error,
        ) from cause_of(error)
    nbytes = sum(values.nbytes for values in results.values())
    return results, seconds, max(0, peak[0] - nbytes)


def _signature(
    results: Results, batch: NDArray[Any], model: Model, loaded: LoadedModel, specs: dict[str, Any]
) -> Signature:
    """Outputs, scale and margin, from the result of one tile."""
    first = next(iter(results.values()), np.empty(0))
    tile = batch.shape[2:]
    spatial = first.shape[2:] if first.ndim == batch.ndim else tile
    outputs = tuple(
        OutputArray(
            max(values.shape[1], 1) if values.ndim == batch.ndim else batch.shape[1],
            values.dtype.name,
            name,
        )
        for name, values in results.items()
    )
    check_names(outputs, "The model")
    _check_sizes(results, batch.ndim, specs)
    for output in outputs:
        needed = (1, output.channels, *spatial)
        check_result(results[output.name], batch.shape, needed, lambda: specs)
    if not outputs:
        raise ModelError(
            f"The model gave no array for the trial tile ({describe_tile(specs)}), given "
            f"{batch.shape}; needed is one, (N, C, (Z), Y, X), or a dict, list or tuple of some.",
            specs,
        )
    if 0 in spatial:
        raise ModelError(
            f"The model gave no voxels for the trial tile ({describe_tile(specs)}). If it cuts a "
            "margin off its tiles, give that (margin=…), else larger tiles (patch_size, min_size).",
            specs,
        )
    signature = Signature(outputs, (Fraction(1),) * len(tile), ((0, 0),) * len(tile))
    if model.says_size or spatial != tile:
        scale, margin = _scale_and_margin(tile, spatial, model, loaded, batch)
        if 0 in scale:
            raise ModelError(
                f"The model gave shape {first.shape} for the trial tile ({describe_tile(specs)}), "
                f"given {batch.shape}, and no more for larger tiles; needed is "
                f"(N, C, (Z), Y, X) with a size that follows from the tile's.",
                specs,
            )
        signature = Signature(outputs, scale, margin)
    if not model.says_size:
        _check_rounding(signature, tile, spatial, specs)
    for output in outputs:
        needed = (1, output.channels, *signature.tile_shape(tile))
        check_result(results[output.name], batch.shape, needed, lambda: specs)
    return signature


def _check_sizes(results: Results, ndim: int, specs: dict[str, Any]) -> None:
    """Refuse arrays of different sizes, as of deep supervision.

    Raises
    ------
    ModelError
        If there are such.
    """
    sizes = {name: values.shape[2:] for name, values in results.items() if values.ndim == ndim}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} of {size}" for name, size in sizes.items())
        raise ModelError(
            f"The model gives several arrays for the trial tile ({describe_tile(specs)}), of "
            f"different sizes: {told}. All must have one size: give a function, or a module around "
            "this one, that returns one of them.",
            specs,
        )


def _check_rounding(
    signature: Signature, tile: tuple[int, ...], spatial: tuple[int, ...], specs: dict[str, Any]
) -> None:
    """Refuse a tile whose size the model rounds down.

    Raises
    ------
    ModelError
        If its result lacks more than those of other sizes.
    """
    if spatial != signature.tile_shape(tile):
        raise ModelError(
            f"The model gave {spatial} voxels for the trial tile ({describe_tile(specs)}), and for "
            f"others {', '.join(map(str, signature.scale))} voxels per voxel less margins of "
            f"{signature.margin}: it rounds this size down. Give patch_size and align as "
            "multiples of its stride, or min_size where an axis is shorter than the tile.",
            specs,
        )


def _scale_and_margin(
    tile: tuple[int, ...],
    spatial: tuple[int, ...],
    model: Model,
    loaded: LoadedModel,
    batch: NDArray[Any],
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
                "it cuts no margin. Leave margin= out; of one that cuts and enlarges give scale, "
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


def _stored(results: Results, signature: Signature, output: Output) -> tuple[OutputArray, ...]:
    if output.function is None:
        return signature.outputs
    stitched = {name: values[0] for name, values in results.items()}
    spatial = next(iter(stitched.values())).shape[1:]
    made = apply_post(load(output.function), stitched, spatial)
    outputs = tuple(OutputArray(len(v), v.dtype.name, name) for name, v in made.items())
    check_names(outputs, "post")
    for values in made.values():
        if not holds_numbers(values.dtype):
            raise ValueError(
                f"post gave dtype {values.dtype}; needed are integers, floats of up to 64 bits, or "
                "booleans."
            )
    return outputs


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


def as_a_worker(call: Callable[[], T], *, side_by_side: bool) -> T:
    """Run as blocks will be: side by side, each in a thread, with one thread inside the model."""
    if not side_by_side:
        return call()
    threads = restore_threads(None)
    executor = DaemonThreads(1, "daskpatch-trial", single_threaded)
    try:
        return executor.submit(call).result()
    finally:
        executor.shutdown(wait=False)  # whoever interrupts it need not wait for the model
        restore_threads(threads)
