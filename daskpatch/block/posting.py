"""The user's function of a stitched block, applied before it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..model import OutputArray, Results, SharedModel, load
from ..support import cause_of, counted, failure_told, shown
from ..values import store_values
from .stitching import Destination


def apply_post(post: SharedModel, stitched: Results, shape: tuple[int, ...]) -> Results:
    """What a function makes of stitched arrays `C(Z)YX`, with a channel axis each.

    Raises
    ------
    ValueError
        If it fails, or changes the size.
    """
    given = stitched[""] if list(stitched) == [""] else stitched
    name = post.handle.name
    try:
        made = load(post)(given)
    except Exception as error:  # noqa: BLE001 (the user's own code)
        raise ValueError(failure_told(f"post {name} failed", error)) from cause_of(error)
    if not made:
        raise ValueError(f"post {name} gave no array; needed is one, or a dict or tuple of some.")
    named = {
        name: values[None] if values.ndim == len(shape) else values for name, values in made.items()
    }
    for values in named.values():
        if values.ndim == 0:
            raise ValueError(
                f"post {name} gave {shown(values[()])}, no array; needed is the block's own size."
            )
        if values.ndim != len(shape) + 1 or values.shape[1:] != shape or not len(values):
            raise ValueError(
                f"post {name} gave shape {values.shape} for a block of {shape}; needed is the "
                "block's own size, with channels first or without: post sees one block at a time, "
                "and can change values and channels, not sizes."
            )
    return named


def store_post(made: Results, trial: Sequence[OutputArray], targets: Sequence[Destination]) -> bool:
    """Put what `apply_post` gave where it belongs; whether there was a NaN that became a 0.

    Raises
    ------
    ValueError
        If it is not as on the trial tile.
    """
    lost = False
    expected = {output.name: (output.channels, output.dtype) for output in trial}
    for target in targets:
        values = made.get(target.name)
        if values is None or (len(values), values.dtype.name) != expected[target.name]:
            got = {name: (len(array), array.dtype.name) for name, array in made.items()}
            raise ValueError(
                f"post gave {_described(got)} for a block of {target.values.shape[1:]}; on the "
                f"trial tile it gave {_described(expected)}. It must always give the same "
                "channels and dtype, such as result.astype('uint32')."
            )
        found = store_values(target.values, values[target.channels])
        lost = lost or (found and target.values.dtype.kind != "f")
    return lost


def _described(arrays: Mapping[str, tuple[int, str]]) -> str:
    return ", ".join(
        f"{name or 'one array'} of {counted(n, 'channel')} of {dtype}"
        for name, (n, dtype) in arrays.items()
    )
