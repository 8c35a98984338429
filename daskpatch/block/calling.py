"""Batches of tiles through the model: normalised, in every position, checked; memory minded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import (
    LoadedModel,
    ModelError,
    Position,
    Results,
    Signature,
    advice_for,
    describe_tile,
    is_out_of_memory,
    release_memory,
)
from ..support import cause_of, failure_told, holds_numbers
from ..values import ValueMap
from .workspace import BatchLimit

Specs = dict[str, Any]

_log = logging.getLogger("daskpatch")


@dataclass(frozen=True)
class Calls:
    """How the model is called for one image.

    Parameters
    ----------
    value_map
        Maps results back; None leaves them.
    """

    model: LoadedModel
    positions: tuple[Position, ...] = (Position(),)
    value_map: ValueMap | None = None

    def __call__(self, batch: NDArray[Any]) -> Results:
        """The results for `(N, C, (Z), Y, X)`, by name."""
        results = self._averaged(batch) if len(self.positions) > 1 else self.model(batch)
        if self.value_map is not None:
            back = self.value_map
            results = {
                name: np.swapaxes(back.undo(np.swapaxes(values, 0, 1)), 0, 1)
                for name, values in results.items()
            }
        return results

    def _averaged(self, batch: NDArray[Any]) -> Results:
        """Means over all positions, of floats; one position is held at a time."""
        plain, *others = self.positions
        totals = {
            # Sums in float: means of integers are none.
            name: values.astype(np.result_type(values.dtype, np.float32))
            for name, values in self.model(plain.apply(batch)).items()
        }
        for position in others:
            turned = self.model(position.apply(batch))
            if turned.keys() != totals.keys():
                raise ValueError(
                    f"turned by {position} it gives {_named(turned)}, as it lies {_named(totals)}"
                )
            for name, total in totals.items():
                values = position.undo(turned[name])
                if values.shape != total.shape:
                    raise ValueError(
                        f"turned by {position} the result has shape {values.shape}, as it lies "
                        f"{total.shape}; 'rot90' needs tiles, margins and scales that are the same "
                        "along Y and X"
                    )
                total += values
        for total in totals.values():
            total /= len(self.positions)
        return totals

    def within_memory(
        self,
        batch: NDArray[Any],
        fill: Callable[[], None],
        specs: Sequence[Callable[[], Specs]],
        limit: BatchLimit,
    ) -> Iterator[tuple[slice, Results]]:
        """The results of a batch, in parts: one, unless memory runs out.

        `fill` fills the batch anew after a call that failed: models may work in place.

        Raises
        ------
        ModelError
            If the model fails, or a single tile takes more memory than there is.
        """
        done = 0
        while done < len(batch):
            size = min(limit.of(len(batch)), len(batch) - done)
            part = slice(done, done + size)
            results = self._try(batch[part], specs[part])
            if results is None:
                # Before the next try: the failed call's arrays live on in the frames of its
                # traceback.
                release_memory()
                fill()
                _log.warning(
                    "Out of memory with %d tiles in a batch; going on with %d.",
                    size,
                    limit.lower(size),
                )
                continue
            yield part, results
            done += size

    def _try(self, batch: NDArray[Any], specs: Sequence[Callable[[], Specs]]) -> Results | None:
        """The results; None where memory ran out and a smaller batch may do."""
        try:
            return self(batch)
        except Exception as error:  # noqa: BLE001 (the user's own code)
            exhausted = is_out_of_memory(error)
            if exhausted and len(batch) > 1:
                return None
            tile = specs[0]()
            also = f" and {len(specs) - 1} more in its batch" if len(specs) > 1 else ""
            advice = (
                "There is too little memory for one tile: give a smaller patch_size, or fewer "
                "threads."
                if exhausted
                else advice_for(error, batch.shape, batch.dtype.name)
            )
            raise ModelError(
                failure_told(
                    f"The model failed on the tile at {describe_tile(tile)}{also}, given "
                    f"{batch.dtype} {batch.shape}",
                    error,
                    advice,
                ),
                tile,
                error,
            ) from cause_of(error)


def check_results(
    results: Results, batch_shape: tuple[int, ...], signature: Signature, specs: Callable[[], Specs]
) -> None:
    """Refuse what is not as the trial was: other arrays, shapes or dtypes."""
    names = [output.name for output in signature.outputs]
    if set(results) != set(names):
        tile = specs()
        raise ModelError(
            f"The model gave {_named(results)} for the tile at {describe_tile(tile)}; on the trial "
            f"tile it gave {_named(names)}.",
            tile,
        )
    for output, sizing in zip(signature.outputs, signature.sizings, strict=True):
        values, spatial = results[output.name], sizing.tile_shape(batch_shape[2:])
        check_result(values, batch_shape, (batch_shape[0], output.channels, *spatial), specs)
        if values.dtype != np.dtype(output.dtype):
            tile = specs()
            raise ModelError(
                f"The model gave {values.dtype} for the tile at {describe_tile(tile)}; on the "
                f"trial tile it gave {output.dtype}. It must always give the same dtype.",
                tile,
            )


def _shown(given: object) -> str:
    """What a model gave instead of an array."""
    if isinstance(given, Mapping):
        return f"a dict ({', '.join(map(repr, given))}) inside of what it gave"
    return f"{given!r:.60}"


def check_result(
    values: NDArray[Any],
    given: tuple[int, ...],
    needed: tuple[int, ...],
    specs: Callable[[], Specs],
    *,
    any_channels: bool = False,
) -> None:
    """Refuse a result of another shape or of a dtype that is no number."""
    if values.shape != needed:
        tile = specs()
        gave = f"shape {values.shape}" if values.ndim else _shown(values.item())
        channels = ", with any number of channels" if any_channels else ""
        raise ModelError(
            f"The model gave {gave} for the tile at {describe_tile(tile)}, given "
            f"{given}; needed is {needed}{channels}: (N, C, (Z), Y, X) with the tile's own spatial "
            f"shape{'' if needed[2:] == given[2:] else ', scaled and cut (scale=, margin=)'}."
            f"{_missing_axis(values.shape, needed)}",
            tile,
        )
    if not holds_numbers(values.dtype):
        tile = specs()
        raise ModelError(
            f"The model gave dtype {values.dtype} for the tile at {describe_tile(tile)}; needed "
            "are integers, floats of up to 64 bits, or booleans.",
            tile,
        )


def _missing_axis(shape: tuple[int, ...], needed: tuple[int, ...]) -> str:
    """What to do where one axis is lost: of channels that were summed up, or of a batch of one."""
    if shape == (needed[0], *needed[2:]):
        return " The axis of channels is gone: keep it, as in result[:, None]."
    if shape == needed[1:]:
        return " The axis of the batch is gone: keep it, as in result[None]."
    return ""


def _named(names: Iterable[str | None]) -> str:
    shown = [name for name in names if name]
    return f"arrays named {', '.join(shown)}" if shown else "one array"
