"""Arguments of strategies, normalised to tuples of plain ints or refused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

from ..geometry import Margin, given

Shapes = tuple[tuple[int, ...], ...]


def as_shapes(data_shapes: Sequence[Sequence[int]]) -> Shapes:
    """Shapes `SC(Z)YX`, all of the same length.

    Raises
    ------
    ValueError
        If there are none, or their lengths differ or are not 4 or 5, or a size is below 1.
    """
    try:
        shapes = tuple(tuple(map(operator.index, shape)) for shape in data_shapes)
    except TypeError:
        raise ValueError(
            f"data_shapes is {given(data_shapes)}; needed is a sequence of SC(Z)YX shapes, one per "
            "image stack, for example [(1, 1, 512, 512)]."
        ) from None
    if not shapes:
        raise ValueError("data_shapes is empty; give one SC(Z)YX shape per image stack.")
    for shape in shapes:
        if len(shape) not in (4, 5):
            raise ValueError(
                f"data_shapes holds {shape}, which has {len(shape)} sizes; needed are SCYX or "
                "SCZYX. Add 1 for a missing samples or channels axis."
            )
        if len(shape) != len(shapes[0]):
            raise ValueError(
                f"data_shapes mixes 2-D and 3-D images ({shapes[0]} and {shape}); tile them with "
                "two strategies."
            )
        if min(shape) < 1:
            raise ValueError(f"data_shapes holds {shape}; every size must be at least 1.")
    return shapes


def check_overlaps(patch_size: tuple[int, ...], overlaps: tuple[int, ...]) -> None:
    """Refuse overlaps that leave no step between patches."""
    if any(o >= p for p, o in zip(patch_size, overlaps, strict=True)):
        raise ValueError(
            f"overlaps {overlaps} must be smaller than patch_size {patch_size} along every axis; "
            "lower the overlap or use a larger patch."
        )


def check_alignment(
    patch_size: tuple[int, ...],
    overlaps: tuple[int, ...],
    align: tuple[int, ...],
    min_size: tuple[int, ...],
) -> None:
    """Refuse tiles that would not start on multiples of `align`."""
    _check_multiples("patch_size", patch_size, align, "align", lambda a: a)
    aligned = tuple(a if a > 1 else 0 for a in align)  # align 1 asks nothing of the overlap
    _check_multiples("overlaps", overlaps, aligned, "2 * align", lambda a: 2 * a)
    _check_min_size(patch_size, min_size)


def check_larger_than(margin: Margin, patch_size: tuple[int, ...]) -> None:
    """Refuse tiles of which a model that cuts a margin off would leave nothing."""
    if any(p <= sum(sides) for p, sides in zip(patch_size, margin, strict=True)):
        raise ValueError(
            f"patch_size {patch_size} is no larger than the margin that the model cuts off its "
            f"tiles, {tuple(map(sum, margin))} voxels on both sides together; give larger tiles."
        )


def check_margin(
    patch_size: tuple[int, ...],
    overlaps: tuple[int, ...],
    align: tuple[int, ...],
    min_size: tuple[int, ...],
    margin: Margin,
) -> None:
    """Refuse tiles of a model that cuts a margin off, where their results would leave gaps."""
    check_larger_than(margin, patch_size)
    cut = tuple(map(sum, margin))
    if any(o < c for o, c in zip(overlaps, cut, strict=True)):
        raise ValueError(
            f"overlaps {overlaps} are smaller than the margin that the model cuts off its tiles, "
            f"{cut} voxels on both sides together: between tiles voxels would be missing. Give "
            f"overlaps={cut} at least."
        )
    steps = tuple(p - o for p, o in zip(patch_size, overlaps, strict=True))
    if any(s % a for s, a in zip(steps, align, strict=True)):
        nearest = tuple(o + s % a for o, s, a in zip(overlaps, steps, align, strict=True))
        raise ValueError(
            f"patch_size - overlaps = {steps} must be multiples of align = {align}; the next "
            f"overlaps that fit patch_size {patch_size} are {nearest}."
        )
    _check_min_size(patch_size, min_size)


def check_front(
    front: tuple[int, ...], overlaps: tuple[int, ...], align: tuple[int, ...], margin: Margin
) -> None:
    """Refuse crops that would lie outside of what a tile gives, or tiles off the grid."""
    most = tuple(o - sum(sides) for o, sides in zip(overlaps, margin, strict=True))
    if any(f % a or f > m for f, a, m in zip(front, align, most, strict=True)):
        raise ValueError(
            f"front is {front}; needed are multiples of align = {align}, no more than {most}, the "
            "overlaps without the margin."
        )


def _check_min_size(patch_size: tuple[int, ...], min_size: tuple[int, ...]) -> None:
    if any(m > p for m, p in zip(min_size, patch_size, strict=True)):
        raise ValueError(
            f"min_size {min_size} exceeds patch_size {patch_size}: no tile could be that large; "
            "raise patch_size or lower min_size."
        )


def _check_multiples(
    name: str,
    values: tuple[int, ...],
    align: tuple[int, ...],
    unit_name: str,
    unit: Callable[[int], int],
) -> None:
    units = tuple(max(unit(a), 1) for a in align)
    if any(v % u for v, u in zip(values, units, strict=True)):
        below = tuple(v // u * u for v, u in zip(values, units, strict=True))
        above = tuple(-(-v // u) * u for v, u in zip(values, units, strict=True))
        nearest = f"{above}" if min(below) == 0 and name == "patch_size" else f"{below} or {above}"
        raise ValueError(
            f"{name} {values} must be multiples of {unit_name} = {units}; the nearest that fit "
            f"are {nearest}. (Of a model that cuts a margin off its tiles, give that: margin=…)"
        )
