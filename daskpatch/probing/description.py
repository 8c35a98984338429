"""What a bioimage.io `rdf.yaml` states of its model, without running it.

Formats 0.4 and 0.5 (https://bioimage-io.github.io/spec-bioimage-io/). Of the first input: channels,
dtype, sizes as `min` and `step`, or one fixed size. Of the first output: channels, dtype, and how
its size follows from the input's:

```
0.4     size = reference size * scale + 2 * offset
0.5     size = reference size * reference scale / scale + offset
```

A `halo` is to be cropped from either side of the output. One that the model has cropped already is
the offset, here the margin. `step` is the total stride: tiles lie on its multiples.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from ..support import said_by, shown
from .findings import Probe
from .influence import Profile
from .sizes import AxisSizes

_NAMES = ("rdf.yaml", "bioimageio.yaml", "rdf.yml", "bioimageio.yml")

Axis = Mapping[str, Any]


def is_description(path: str | os.PathLike[str]) -> bool:
    """Whether a path is to be read as a description, not as a saved probe."""
    return Path(path).suffix in (".yaml", ".yml")


def description_beside(file: str | os.PathLike[str] | None) -> Path | None:
    """The description in the folder of a model's file, if there is one."""
    return None if file is None else description_in(Path(file).parent)


def description_in(folder: Path) -> Path | None:
    """The description in a folder, if there is one."""
    return next((p for name in _NAMES if (p := folder / name).is_file()), None)


def read_description(path: str | os.PathLike[str]) -> Probe:
    """A probe that holds what a description states; it has neither profiles nor costs.

    Raises
    ------
    ValueError
        If the file is none, or lacks what is needed: sizes of the input, and the output's halo.
    """
    try:
        return _read(Path(path))
    except ValueError as error:
        raise ValueError(
            f"{path} does not state what tiles need: {said_by(error)}. Needed are inputs and "
            "outputs of bioimage.io's 0.4 or 0.5; put it right, or use daskpatch.probe(model, …)."
        ) from error


def _read(path: Path) -> Probe:
    """What a description states.

    Raises
    ------
    ValueError
        If that is not enough: which field, as part of a sentence.
    """
    try:
        rdf = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"it is no YAML ({said_by(error)})") from error
    if not isinstance(rdf, Mapping):
        raise ValueError(f"it holds {shown(rdf)}, not named fields")
    given, made = _first(rdf, "inputs"), _first(rdf, "outputs")
    old = isinstance(given["axes"], str)
    try:
        stated = (_of_letters if old else _of_axes)(str(rdf.get("name", path)), given, made)
        return Probe.of(stated.to_dict())  # each value is looked at
    except KeyError as error:
        raise ValueError(f"inputs[0] or outputs[0] has no {error} where it is needed") from error
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ValueError(
            f"axes, sizes or types of inputs[0] and outputs[0] are odd or don't agree "
            f"({said_by(error)})"
        ) from error


def _first(rdf: Mapping[str, Any], field: str) -> Axis:
    """The first of the tensors that go in, or come out."""
    tensors = rdf.get(field)
    if not isinstance(tensors, list) or not tensors:
        said = f"is {shown(tensors)}" if field in rdf else "is missing"
        raise ValueError(f"its field {field!r} {said}; needed is a list of tensors")
    first = tensors[0]
    if not isinstance(first, Mapping) or "axes" not in first:
        raise ValueError(
            f"{field}[0] is {shown(first)}; needed are the fields of a tensor, axes first"
        )
    if not isinstance(first["axes"], str | list):
        raise ValueError(
            f"axes of {field}[0] is {shown(first['axes'])}; needed are letters, or a list"
        )
    return first


def _of_letters(name: str, given: Axis, made: Axis) -> Probe:
    """Format 0.4: axes are letters, sizes are lists in their order."""
    axes, out_axes = given["axes"], made["axes"]
    spatial = [axis for axis in axes if axis in "zyx"]
    shape, out_shape = given["shape"], made["shape"]
    halo = made.get("halo") or [0] * len(out_axes)
    sizes, sides = [], []
    for axis in spatial:
        at, out_at = axes.index(axis), out_axes.index(axis)
        least, step = (
            (shape["min"][at], shape["step"][at]) if isinstance(shape, Mapping) else (shape[at], 0)
        )
        if isinstance(out_shape, Mapping):
            scale = Fraction(out_shape["scale"][out_at]).limit_denominator(1024)
            offset = 2 * Fraction(out_shape["offset"][out_at])
        else:
            scale, offset = _of_fixed(least, out_shape[out_at])
        sizes.append(_sizes(least, step, scale, offset))
        sides.append(math.ceil(halo[out_at] / scale))
    channels = _channels(axes, shape)
    return _stated(name, channels, given, made, _channels(out_axes, out_shape), sizes, sides)


def _of_axes(name: str, given: Axis, made: Axis) -> Probe:
    """Format 0.5: axes are mappings, each with its size."""
    spatial = [axis for axis in given["axes"] if axis["type"] == "space"]
    outputs = {axis.get("id"): axis for axis in made["axes"]}
    sizes, sides = [], []
    for axis in spatial:
        out = outputs[axis["id"]]
        least, step = (
            (axis["size"]["min"], axis["size"]["step"])
            if isinstance(axis["size"], Mapping)
            else (axis["size"], 0)
        )
        if isinstance(out["size"], Mapping):
            ratio = Fraction(axis.get("scale", 1)) / Fraction(out.get("scale", 1))
            scale, offset = ratio.limit_denominator(1024), Fraction(out["size"].get("offset", 0))
        else:
            scale, offset = _of_fixed(least, out["size"])
        sizes.append(_sizes(least, step, scale, offset))
        sides.append(math.ceil(out.get("halo", 0) / scale))
    return _stated(
        name,
        _named_channels(given["axes"]),
        {"data_type": _dtype(given)},
        {"data_type": _dtype(made)},
        _named_channels(made["axes"]),
        sizes,
        sides,
    )


def _stated(
    name: str,
    channels: int,
    given: Axis,
    made: Axis,
    out_channels: int,
    sizes: Sequence[AxisSizes],
    sides: Sequence[int],
) -> Probe:
    # What the model has cropped already it needs as well.
    halo_sides = tuple(
        (side + along.sides[0], side + along.sides[1])
        for side, along in zip(sides, sizes, strict=True)
    )
    return Probe(
        name=name,
        channels=channels,
        input_dtype=given.get("data_type", "float32"),
        out_channels=out_channels,
        dtype=made.get("data_type", "float32"),
        halo_sides=halo_sides,
        align=tuple(along.step or 1 for along in sizes),
        sizes=tuple(sizes),
        is_global=False,
        effect=0.0,
        tolerance=0.0,
        profiles=(Profile((), ()),) * len(sizes),
        costs=(),
    )


def _sizes(least: int, step: int, scale: Fraction, offset: Fraction) -> AxisSizes:
    """Where the margin is the offset, in voxels of the input."""
    return AxisSizes(int(least), int(step), scale, max(math.ceil(-offset / scale), 0))


def _of_fixed(size: int, out_size: int) -> tuple[Fraction, Fraction]:
    """One size in, one size out: scaled where that is a whole number, else cropped."""
    if out_size > size or size % out_size == 0:
        return Fraction(out_size, size), Fraction(0)
    return Fraction(1), Fraction(out_size - size)


def _channels(axes: str, shape: Sequence[int] | Mapping[str, Any]) -> int:
    if "c" not in axes:
        return 1
    at = axes.index("c")
    if not isinstance(shape, Mapping):
        return int(shape[at])
    if "min" in shape:
        return int(shape["min"][at])
    return max(int(shape["scale"][at] + 2 * shape["offset"][at]), 1)


def _named_channels(axes: Sequence[Axis]) -> int:
    channel = next((axis for axis in axes if axis["type"] == "channel"), None)
    return 1 if channel is None else len(channel["channel_names"])


def _dtype(tensor: Axis) -> str:
    data = tensor.get("data", {})
    first = data[0] if isinstance(data, list) else data
    return str(first.get("type", "float32"))
