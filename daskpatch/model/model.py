"""The model, and how it is called: the option of that name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import DTypeLike

from ..geometry import Margin, Ratio, Scale, Sides, as_margin, as_scale
from ..support import KINDS, NAME, SCALES, SIZES, Options, as_dtype, as_id, option, required
from .adaptation import ModelLike, shared_model
from .augmentation import Position, as_augment, positions
from .handles import SharedModel

Augment = Literal["flips", "rot90"]


def _checked(check: Callable[[Any, None], object]) -> Callable[[str, Any], object]:
    """A check of numbers per axis, whose count is not known yet; they stay as they were given."""

    def look(name: str, value: object) -> object:  # noqa: ARG001 (the interface)
        if value is not None:
            check(value, None)
        return _plain(value)

    return look


def _plain(value: object) -> Any:
    """The same with tuples and Python's numbers, which compare and are recorded as themselves."""
    if hasattr(value, "__array__"):
        value = np.asarray(value).tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _texts(scale: Scale | None) -> list[str] | None:
    return None if scale is None else [str(ratio) for ratio in scale]


@dataclass(frozen=True, repr=False)
class Model(Options):
    """A model, and how it is called.

    Parameters
    ----------
    call
        A callable from a batch `(N, C, (Z), Y, X)` in `input_dtype` to `(N, C', (Z), Y, X)`, or a
        tuple or dict of such arrays: each is an array of the output then. A `torch.nn.Module`,
        `TorchModel`, `OnnxModel`, `"package.module:attribute"`, `"file.py:attribute"` or the path
        of an `.onnx` file.
    input_dtype
        What the model is given.
    scale, margin
        For a model whose result has another size than its tile: voxels of the output per voxel of
        the input, and the voxels that it cuts off each side (a number, or per axis a number or a
        pair). By default what the probe or the trial found. The output has ceil(n * scale) voxels.
    augment
        `"flips"`, `"rot90"` or both: tiles are predicted in all these positions, and the results
        turned back and averaged. Flips are along all axes, turns in the plane of Y and X.
    id
        What tells the model from others when a run is resumed; by default a digest of its code
        and weights, which models that hold open files or compiled objects don't have.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        If it is no model, or an option is not what it needs to be.

    Examples
    --------
    >>> Model(np.negative, augment="flips").augment
    ('flips',)
    """

    call: ModelLike = required(
        word=None,
        flag="--model",
        parser=NAME,
        check=lambda _, model: shared_model(model),
        shows_in="model",
        help="package.module:attribute, file.py:attribute (runs the file), or a path.onnx.",
        example=np.square,
    )
    input_dtype: DTypeLike = option(
        "float32",
        check=as_dtype,
        guard="input_dtype",
        record=lambda model: model.input_dtype.str,
        help="What the model is given.",
        example="float64",
    )
    scale: Ratio | Sequence[Ratio] | None = option(
        None,
        parser=SCALES,
        check=_checked(as_scale),
        guard="treatment.scale",
        record=lambda model: _texts(model.scale),
        help="Voxels of the output per voxel of the input.",
        example=2,
    )
    margin: int | Sequence[Sides] | None = option(
        None,
        parser=SIZES,
        check=_checked(as_margin),
        guard="treatment.margin",
        help="Voxels that the model cuts off each side.",
        example=2,
    )
    augment: Augment | Sequence[Augment] | None = option(
        None,
        parser=KINDS,
        check=lambda _, augment: as_augment(augment),
        guard="treatment.augment",
        record=lambda model: list(model.augment) or None,
        say=lambda model, ndim: model.told_positions(ndim),
        help="flips, rot90 or both: flips,rot90.",
        example="flips",
    )
    id: str | None = option(
        None,
        word="model_id",
        check=as_id,
        shows_in="model",
        help="Tells the model from others, where its code cannot.",
        example="another",
    )

    @property
    def shared(self) -> SharedModel:
        """The model as it travels, and is loaded once per process."""
        return shared_model(self.call)

    @property
    def dtype(self) -> np.dtype[Any]:
        """`input_dtype`, as it is after the check."""
        return np.dtype(self.input_dtype)

    @property
    def says_size(self) -> bool:
        """Whether scale or margin was given."""
        return self.scale is not None or self.margin is not None

    def positions(self, ndim: int) -> tuple[Position, ...]:
        """In which tiles of so many spatial axes are predicted."""
        return positions(as_augment(self.augment), ndim)

    def told_positions(self, ndim: int) -> str:
        """A line of the plan's text."""
        if not self.augment:
            return ""
        return f"{' and '.join(self.augment)}: the mean of {len(self.positions(ndim))} positions"

    def scale_of(self, ndim: int) -> Scale | None:
        """Output voxels per input voxel, for so many spatial axes; None where it is not said."""
        return None if self.scale is None else as_scale(self.scale, ndim)

    def margin_of(self, ndim: int) -> Margin | None:
        """Voxels cut off each side, for so many spatial axes; None where it is not said."""
        return None if self.margin is None else as_margin(self.margin, ndim)


class ModelWords(TypedDict, total=False):
    """The flat words of `Model`."""

    input_dtype: DTypeLike
    scale: Ratio | Sequence[Ratio] | None
    margin: int | Sequence[Sides] | None
    augment: Augment | Sequence[Augment] | None
    model_id: str | None
