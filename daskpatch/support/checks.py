"""What options must be, each check with its words: given an option's word and its value."""

from __future__ import annotations

import operator
from difflib import get_close_matches
from numbers import Real
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .redaction import redacted
from .wording import shown


def as_count(name: str, value: object) -> int:
    """An integer of at least 1.

    Raises
    ------
    ValueError
        If it is none.
    """
    number = _as_integer(value)
    if number is None or number < 1:
        raise ValueError(f"{name} is {shown(value)}; needed is an integer of at least 1.")
    return number


def as_optional_count(name: str, value: object) -> int | None:
    """The same, or None."""
    return None if value is None else as_count(name, value)


def as_flag(name: str, value: object) -> bool:
    """True or False.

    Raises
    ------
    ValueError
        If it is neither.
    """
    need(isinstance(value, bool), name, value, "True or False")
    return bool(value)


def need(holds: bool, name: str, value: object, needed: str) -> None:
    """Refuse a value in the words that all options have.

    Raises
    ------
    ValueError
        If it does not hold.
    """
    if not holds:
        raise ValueError(f"{name} is {shown(value)}; needed is {needed}.")


def as_id(name: str, value: object) -> object:
    """A text that stands for something that cannot be told; None for none.

    It is recorded: a secret in it (of a URL) stands for nothing.
    """
    is_text = isinstance(value, str) and bool(value)
    of = name.removesuffix("_id")
    need(value is None or is_text, name, value, f"a text that changes when the {of} does")
    return redacted(value) if isinstance(value, str) else None


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a real number, not NaN: booleans are none."""
    # A NaN differs from itself; math.isnan does not take integers beyond floats.
    return isinstance(value, Real) and not isinstance(value, bool) and bool(value == value)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether it counts something: booleans don't."""
    return hasattr(value, "__index__") and not isinstance(value, bool)


def holds_numbers(dtype: np.dtype[Any]) -> bool:
    """Whether values of a dtype can be stored: booleans, integers, floats of up to 64 bits."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


_NAMES = (
    *(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "bool"),
)


def as_dtype(name: str, value: object) -> np.dtype[Any]:
    """A dtype of numbers.

    Raises
    ------
    ValueError
        If it is none.
    """
    is_array = hasattr(value, "shape") and not isinstance(value, type | np.dtype)
    try:
        dtype: np.dtype[Any] = np.dtype(object if is_array else value)  # type: ignore[call-overload]
    except Exception:  # noqa: BLE001 (numpy parses texts, and asks objects for their dtype)
        dtype = np.dtype(object)
    if value is None or not holds_numbers(dtype):
        near = get_close_matches(value, _NAMES, 1) if isinstance(value, str) else []
        raise ValueError(
            f"{name} is {shown(value)}; needed is a dtype of integers, floats (to 64 bits) or "
            f"booleans, such as {near[0] if near else 'float32'!r}."
        )
    return dtype


def _as_integer(value: object) -> int | None:
    if isinstance(value, bool):  # which counts nothing
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def checked_shape(values: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """Values that have the shape that they should.

    Raises
    ------
    ValueError
        If they have another: NumPy would stretch them.
    """
    if values.shape != shape:
        raise ValueError(
            f"{name} has shape {values.shape}, asked for was {shape}: it was changed since it was "
            "opened, or says another shape than it has (chunks=, drop_axis= of a Dask array's "
            "map_blocks)"
        )
    return values


def within_xarray(values: Any) -> Any:
    """The array in a `DataArray`, which drops masks when it computes; anything else as it is."""
    is_labelled = hasattr(values, "dims") and hasattr(values, "variable")
    return values.variable.data if is_labelled else values


def unmasked(values: object, name: str) -> NDArray[Any]:
    """Values as an array, where none of them is masked.

    Raises
    ------
    ValueError
        If some are: whatever lies under a mask is no voxel.
    """
    array = np.asanyarray(values)  # of whatever gives a masked array of itself
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(
            f"{name} has masked values; fill them with what they are to count as: masked.filled(0)."
        )
    return np.asarray(array)


def as_voxels(values: object, name: str) -> NDArray[Any]:
    """What something gave for voxels, as an array of numbers: a dtype that it says is a promise.

    Raises
    ------
    ValueError
        If some are masked, or they are of a kind that would lose something as numbers.
    """
    array = unmasked(values, name)
    if not holds_numbers(array.dtype):
        raise ValueError(
            f"{name} gave a block of dtype {array.dtype}; needed are integers, floats of up to 64 "
            "bits, or booleans. Make numbers of it first: of complex ones source.real."
        )
    return array
