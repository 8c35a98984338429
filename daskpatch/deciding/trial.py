"""One tile from the middle of the data, run through the model once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..block import Calls, apply_post, is_said_empty
from ..geometry import AxisTile
from ..model import (
    LoadedModel,
    ModelError,
    OutputArray,
    Results,
    SharedModel,
    Signature,
    advice_for,
    advice_on_axes,
    describe_tile,
    is_out_of_memory,
    load,
    restore_threads,
    single_threaded,
)
from ..output import Output
from ..probing import Probe, digest_of_values
from ..support import (
    DaemonThreads,
    cause_of,
    failure_told,
    give_back_freed,
    holds_numbers,
    peak_memory_anew,
    resident_bytes,
    text_of,
)
from ..values import ResultSample, are_never_ids, may_be_ids
from .agreement import averaging, check_positions, check_undo, warn_of_rounding
from .batching import check_batch
from .first_look import FirstLook
from .labelling import warn_of_labels
from .pace import Pace, pace_of, read_in, timed
from .plan_options import PlanOptions
from .sizing import check_names, signature_of, sizes_of
from .small_tile import WholeTile, small_tile
from .trial_tile import TrialTile
from .working_memory import Calling, CallMemory, keep, recalled, working_memory

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trial:
    """What one call of the model on one tile showed.

    Attributes
    ----------
    tile
        One of the run, of which `seconds` and `memory` are.
    seen
        What the model was called on for all else: that tile, or a small part of it.
    given, stored
        The dtypes of the model's own arrays, and what `post` makes of them.
    samples
        A few values of each of the model's own arrays.
    has_ids
        Whether one of these may be ids of objects.
    is_never_ids
        Whether none of these would be, of no image.
    """

    tile: TrialTile
    seen: TrialTile
    given: Mapping[str, np.dtype[Any]]
    samples: Mapping[str, ResultSample]
    signature: Signature
    stored: tuple[OutputArray, ...]
    seconds: float
    memory: CallMemory
    pace: Pace
    has_ids: bool
    is_never_ids: bool

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Of the tile, in voxels of the input."""
        return self.tile.shape


def run_trial(
    tile: TrialTile,
    options: PlanOptions,
    look: FirstLook,
    known: Probe | None,
    calling: Calling,
) -> Trial:
    """Read the tile in the middle of the series and run the model on it.

    Where a probe tells that the model takes a smaller one, values are seen on that, in each plan
    alike, and what a whole tile takes is remembered; unless there is `post`, or the model may give
    ids of objects: these are looked for in tiles of the run. Of a model that may give ids for
    another image it is remembered for this tile only.

    A model whose result has another size than its tile is run on a few more sizes, to learn how
    one follows from the other, unless that was said.

    Raises
    ------
    ModelError
        If the model fails, or gives another shape or no numbers; the tile is named.
    ValueError
        If `post` or `skip_empty` fails, or results cannot be mapped back.
    """
    tried = partial(_tried, options=options, look=look, calling=calling)
    has_post = options.output.function is not None
    small = None if known is None or has_post else small_tile(tile, known)
    if small is None:
        return tried(tile)
    asked = {
        "whole": (tile.image.data_shape[1], *tile.shape),
        "input_dtype": options.model.dtype.str,
        "positions": len(options.model.positions(len(tile.shape))),
        "undo": options.normalize.undo,
        "memory": "and seconds of a whole tile",
    }
    taken, whole = recalled(look, asked, WholeTile, calling), None
    if taken is None:
        of_this = {**asked, "content": _digest_of_content(tile, look)}
        taken = recalled(look, of_this, WholeTile, calling)
    if taken is None:
        whole = tried(tile)
        if whole.has_ids:
            return whole
        taken = WholeTile(repr(whole.signature), whole.seconds, whole.memory)
        keep(look, asked if whole.is_never_ids else of_this, taken, calling)
    # What is known of its sizes may be of another model; a function may need a whole tile.
    with suppress(ModelError, ValueError):
        seen = tried(small)
        if taken.is_of(seen.signature) and not seen.has_ids:
            return replace(seen, tile=tile, seconds=taken.seconds, memory=taken.memory)
    return tried(tile) if whole is None else whole


def _digest_of_content(tile: TrialTile, look: FirstLook) -> str:
    """What tells the voxels that the model is given from others."""
    patch = look.patch_of(tile)
    return digest_of_values(tile.batch_of(patch, tile.value_map(patch)))


def _tried(tile: TrialTile, options: PlanOptions, look: FirstLook, calling: Calling) -> Trial:
    """What a call of the model on a tile shows."""
    model, normalize = options.model, options.normalize
    (patch, reading), specs = read_in(look, tile), dict(tile.specs)
    value_map = tile.value_map(patch)
    if value_map is None:
        warn_of_rounding(patch, model.dtype)
    loaded = load(model.shared)

    def predict(tiles: Sequence[AxisTile]) -> Results:
        return loaded(tile.batch_of(tile.read(tile.specs_of(tiles)), value_map))

    batch = tile.batch_of(patch, value_map)
    _, filling = timed(lambda: tile.fill(batch, patch, value_map))  # blocks use memory again
    calls = Calls(loaded, model.positions(patch.ndim - 1))
    results, seconds, of_first = _timed(calls, batch, specs, calling)
    memory = _memory(of_first, calls, batch, look, calling)
    signature = signature_of(results, batch, model, loaded, specs)
    for sizing in dict.fromkeys(signature.sizings):
        check_positions(model, sizing)
    # A mean over positions is of floats, whatever the model gives.
    own = loaded(tile.batch_of(patch, value_map)) if model.augment else results
    if options.tiles.batch_size != 1 or loaded.spatial_axes not in (None, patch.ndim - 1):
        check_batch(loaded, tile.batch_of(patch, value_map), own, specs, look.remembered)
    samples = {name: ResultSample.of(values) for name, values in own.items()}
    if options.output.predicate is not None:
        is_said_empty(options.output.predicate, patch.copy())  # it may write into it
    _look_for_labels(own, signature, tile, predict, options)
    if normalize.undo and value_map is not None:
        check_undo(normalize, signature, len(patch))
        results = {name: value_map.undo(values[0])[None] for name, values in results.items()}
        signature = signature.with_dtypes({n: values.dtype.name for n, values in results.items()})
    return Trial(
        tile=tile,
        seen=tile,
        given={name: values.dtype for name, values in own.items()},
        samples=samples,
        signature=signature,
        stored=_stored(results, signature, options.output),
        seconds=seconds,
        memory=memory,
        pace=pace_of(reading, batch, filling, next(iter(results.values()))[0]),
        has_ids=any(may_be_ids(values[0]) for values in own.values()),
        is_never_ids=all(are_never_ids(values) for values in own.values()),
    )


def _look_for_labels(
    own: Results,
    signature: Signature,
    tile: TrialTile,
    predict: Callable[[Sequence[AxisTile]], Results],
    options: PlanOptions,
) -> None:
    """Warn where ids of objects would change at seams, in what the model gives or `post` makes."""
    output = options.output
    if output.dtype is not None and output.dtype == "bool":
        return
    if output.function is None:
        # Averages of integers are refused, or said to be of quantities.
        kinds = "f" if averaging(options.model, output) else "fiu"
        judged = {name: values for name, values in own.items() if values.dtype.kind in kinds}
        warn_of_labels(judged, signature.of, tile, predict)
    elif signature.is_of_one_size and not options.normalize.undo:
        post = partial(_posted, output.function)
        there = post(own)

        def made(tiles: Sequence[AxisTile]) -> Results:
            return post(predict(tiles))

        warn_of_labels(there, lambda name: signature.finest, tile, made, by_post=True)  # noqa: ARG005


def _posted(post: SharedModel, results: Results) -> Results:
    """What `post` makes of a tile, with an axis for the batch."""
    stitched = {name: values[0].copy() for name, values in results.items()}
    spatial = next(iter(stitched.values())).shape[1:]
    return {name: values[None] for name, values in apply_post(post, stitched, spatial).items()}


def _timed(
    calls: Calls, batch: NDArray[Any], specs: dict[str, Any], calling: Calling
) -> tuple[Results, float, CallMemory]:
    """The results of a call, its seconds, and what it took beyond them."""
    try:
        measured = partial(_measured, calls, batch)
        return as_a_worker(measured, side_by_side=calling.side_by_side)
    except Exception as error:  # noqa: BLE001 (the user's own code)
        advice = (
            "There is too little memory for one tile: give a smaller patch_size."
            if is_out_of_memory(error)
            else _advice(calls.model, error, batch)
        )
        raise ModelError(
            failure_told(
                f"The model failed on the trial tile ({describe_tile(specs)}), given {batch.dtype} "
                f"{batch.shape}",
                error,
                advice,
            ),
            specs,
            error,
        ) from cause_of(error)


def _advice(model: LoadedModel, error: Exception, batch: NDArray[Any]) -> str:
    """What to change; of an exported program first of all the axes, which its guards don't tell."""
    needed, given = model.spatial_axes, batch.ndim - 2
    if needed not in (None, given) and "Guard failed" in text_of(error):
        return advice_on_axes(needed, given)
    return advice_for(error, batch.shape, batch.dtype.name)


def _measured(calls: Calls, batch: NDArray[Any]) -> tuple[Results, float, CallMemory]:
    """The results of a call, its seconds, and what it took beyond them."""
    give_back_freed()
    before = resident_bytes()
    with peak_memory_anew() as peak:
        begin = time.perf_counter()
        results = calls(batch)
        seconds = time.perf_counter() - begin
    give_back_freed()
    nbytes = sum(values.nbytes for values in results.values())
    left = resident_bytes() - before - nbytes
    return results, seconds, CallMemory(max(0, peak[0] - nbytes), max(0, left))


def _memory(
    of_first: CallMemory,
    calls: Calls,
    batch: NDArray[Any],
    look: FirstLook,
    calling: Calling,
) -> CallMemory:
    """What calls of the model take, one after another in a process."""

    def again() -> CallMemory:
        measured = partial(_measured, calls, batch.copy())
        return as_a_worker(measured, side_by_side=calling.side_by_side)[2]

    asked = {
        "tile": batch.shape,
        "input_dtype": batch.dtype.str,
        "positions": len(calls.positions),
        "memory": "of calls",
    }
    return working_memory(of_first, again, asked, look, calling)


def _stored(results: Results, signature: Signature, output: Output) -> tuple[OutputArray, ...]:
    if output.function is None:
        return signature.outputs
    if not signature.is_of_one_size:
        raise ValueError(
            f"The model gives several arrays of different sizes, {sizes_of(results)}, and post is "
            "given arrays of one size. Do in the model what post does, or let it give one of them."
        )
    made = {name: values[0] for name, values in _posted(output.function, results).items()}
    outputs = tuple(OutputArray(len(v), v.dtype.name, name) for name, v in made.items())
    check_names(outputs, "post")
    for values in made.values():
        if not holds_numbers(values.dtype):
            raise ValueError(
                f"post {output.function.handle.name} gave dtype {values.dtype}; needed are "
                "integers, floats of up to 64 bits, or booleans."
            )
    return outputs


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
