"""`Probe`: what was found out about a model."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..support import (
    Natural,
    Positive,
    converted,
    counted,
    html_table,
    load_extra,
    parsed,
    said_by,
    shown,
    speed_of,
    text_table,
)
from .influence import Profile
from .sizes import AxisSizes
from .speed import CallCost

_FORMAT = 1


@dataclass(frozen=True)
class Probe:
    """How far a model looks, on which grid it works, what it takes and what it costs.

    Sequences have one entry per spatial axis, (Z)YX; lengths are in voxels of the input.

    Attributes
    ----------
    name
        The model.
    channels, input_dtype
        Of its input.
    out_channels, dtype
        Of its result.
    halo_sides
        How many voxels before and behind its result the model looks, rounded up to whole steps
        of `align`: the farthest of them may matter too little to be seen.
    align
        The smallest shift under which it is equivariant: the total stride of its poolings. None
        where a shift of up to 32 voxels always changes the result.
    sizes
        The tile sizes it takes, and how large its result is.
    is_global
        Whether its result depends on all of its tile, however large: then no halo is exact.
    is_cut_short
        Whether it may look further than the halo: the next larger image took too much memory.
    shows_little
        Whether it may look further than was seen, as little of its result changes with its input:
        functions of masks, or of what is above a threshold.
    effect
        Where it is global, the largest change of a result, in standard deviations, when all
        that is farther than the halo changes.
    tolerance
        Changes up to this, in standard deviations of the result, count as none.
    profiles
        Influence against distance.
    costs
        Seconds and memory over tile and batch size.
    """

    name: str
    channels: Positive
    input_dtype: str
    out_channels: Positive
    dtype: str
    halo_sides: tuple[tuple[Natural, Natural], ...]
    align: tuple[Positive | None, ...]
    sizes: tuple[AxisSizes, ...]
    is_global: bool
    effect: float
    tolerance: float
    profiles: tuple[Profile, ...]
    costs: tuple[CallCost, ...]
    is_cut_short: bool = False
    shows_little: bool = False

    def __post_init__(self) -> None:
        per_axis = [self.halo_sides, self.align, self.profiles, *(c.tile for c in self.costs)]
        np.dtype(self.input_dtype), np.dtype(self.dtype)
        if self.ndim not in (2, 3) or any(len(values) != self.ndim for values in per_axis):
            raise ValueError(f"it has other numbers of axes than {self.ndim}, or none of 2 and 3")
        if min(self.scale) <= 0:
            raise ValueError(f"its scale is {self.scale}")

    @property
    def ndim(self) -> int:
        """Spatial axes of the model: 2 or 3."""
        return len(self.sizes)

    @property
    def halo(self) -> tuple[int, ...]:
        """Per axis, the larger side."""
        return tuple(max(sides) for sides in self.halo_sides)

    @property
    def grid(self) -> tuple[int, ...]:
        """Multiples on which tiles must start, and by which their sizes differ, per axis."""
        return tuple(
            math.lcm(align or 1, along.step or 1, along.scale.denominator)
            for align, along in zip(self.align, self.sizes, strict=True)
        )

    @property
    def margin(self) -> tuple[tuple[int, int], ...]:
        """Voxels that its result lacks of its tile, before and behind, per axis."""
        return tuple(along.sides for along in self.sizes)

    @property
    def keeps_size(self) -> bool:
        """Whether its result has the size of its tile."""
        return all(along.scale == 1 and not along.margin for along in self.sizes)

    @property
    def min_size(self) -> tuple[int, ...]:
        """The smallest tile that the model takes, in voxels per axis."""
        return tuple(along.smallest for along in self.sizes)

    @property
    def scale(self) -> tuple[Fraction, ...]:
        """Voxels of the result per voxel of the input."""
        return tuple(along.scale for along in self.sizes)

    def check_sizes(self, scale: tuple[Fraction, ...], margin: tuple[tuple[int, int], ...]) -> None:
        """Refuse a model whose result has another size than the probe says.

        Raises
        ------
        ValueError
            If it has.
        """
        if (self.scale, self.margin) != (scale, margin):
            raise ValueError(
                f"The probe says that {self.name} gives {_text(self.scale)} voxels per voxel, with "
                f"margins {self.margin}; on the trial tile the model gave {_text(scale)} and "
                f"{margin}. It is another model by now: probe it anew."
            )

    def disagreements(self, stated: Probe) -> list[str]:
        """What this probe found that is not as it was stated, by a description or another probe.

        A halo that is larger than needed is no disagreement, nor are more sizes.
        """
        found = []
        for axis, mine, theirs in zip(
            "ZYX"[-self.ndim :], self._axes(), stated._axes(), strict=True
        ):
            halo, align, along = mine
            other_halo, other_align, other = theirs
            if halo > other_halo:
                found.append(f"{axis}: halo {halo} found, {other_halo} stated")
            if align is None or other_align % align:
                found.append(f"{axis}: grid of {align} found, {other_align} stated")
            if (along.scale, along.margin) != (other.scale, other.margin):
                found.append(
                    f"{axis}: scale {along.scale} and margin {along.margin} found, {other.scale} "
                    f"and {other.margin} stated"
                )
            if other.smallest < along.smallest:
                found.append(f"{axis}: sizes from {along.smallest} on, {other.smallest} stated")
        return found

    def _axes(self) -> Iterator[tuple[int, Any, AxisSizes]]:
        """Halo, grid and sizes, axis by axis."""
        return zip(self.halo, self.align, self.sizes, strict=True)

    def check_input(self, channels: int, *shape: int) -> None:
        """Refuse images, by their `C(Z)YX` shape, that the probe says nothing about.

        Raises
        ------
        ValueError
            If they have other channels or spatial axes.
        """
        if (self.channels, self.ndim) != (channels, len(shape)):
            raise ValueError(
                f"The probe is of {self.name} with {counted(self.channels, 'channel')} and "
                f"{self.ndim} spatial axes; the source has {channels} and {len(shape)}. Probe the "
                "model anew, or open the source otherwise (axes, channels)."
            )

    @property
    def tells_exact_tiles(self) -> bool:
        """Whether there are tiles that give the whole image's result, as far as was seen."""
        return not (self.is_global or self.is_cut_short or None in self.align)

    @property
    def advice(self) -> str:
        """What the user should know, in one sentence or two."""
        if self.is_global:
            return (
                "Global: no halo is exact. What is farther than the halo changes a result by up to "
                f"{self.effect:.2g} of its standard deviation; normalise over the whole image "
                "instead of each tile, take larger tiles, or blend them."
            )
        if self.is_cut_short:
            return (
                f"It looks at least {_text(self.halo)} voxels far, and was not measured further: "
                "larger images took more memory than there is. Tiles are exact only if it looks no "
                "further; probe it where there is more memory, or check_seams."
            )
        if None in self.align:
            return (
                "Its result changes with the position of the tile, whatever the shift: no tiling "
                "gives the whole image's result."
            )
        told = (
            f"Tiles on multiples of {_text(self.align)} with a halo of {_text(self.halo)} give the "
            "whole image's result"
        )
        if self.shows_little:
            return (
                f"{told}, as far as was seen: little of what it gives changes with what it is "
                "given. If you know how far it looks, give overlaps of twice that."
            )
        return f"{told}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = asdict(self)
        for along in values["sizes"]:
            along["scale"] = str(along["scale"])
        return {"format": _FORMAT, **values, "halo": self.halo, "advice": self.advice}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON; `load` reads it."""
        Path(path).write_text(json.dumps(self.to_dict()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Probe:
        """A probe that was saved.

        Raises
        ------
        ValueError
            If the file is none.
        """
        try:
            values = parsed(Path(path).read_text())
            if not isinstance(values, dict):
                raise ValueError(f"it holds {shown(values)}, not named fields")
            if values["format"] != _FORMAT:
                raise ValueError(f"it has format {values['format']}, not {_FORMAT}")
            return cls.of(values)
        except KeyError as error:
            raise ValueError(
                f"{path} is no saved probe: it has no field {error}. {_ANEW}"
            ) from error
        except (ValueError, TypeError, ArithmeticError) as error:
            raise ValueError(f"{path} is no saved probe: {said_by(error)}. {_ANEW}") from error

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Probe:
        """A probe of plain values, as `to_dict` gives them.

        Raises
        ------
        ValueError, ArithmeticError
            If one of them cannot be what it should be.
        """
        found: Probe = converted(values, cls, dec_hook=_as_fraction)
        return found

    def plot(self) -> Any:
        """Influence against distance, a line for each axis and side, as a matplotlib figure."""
        figure = load_extra("matplotlib.figure", "Probe.plot").Figure(layout="constrained")
        axes = figure.subplots()
        names = "ZYX"[-self.ndim :]
        for name, profile in zip(names, self.profiles, strict=True):
            (line,) = axes.semilogy(_shown(profile.before), label=f"{name}, before")
            axes.semilogy(
                _shown(profile.behind), "--", color=line.get_color(), label=f"{name}, behind"
            )
        axes.axhline(max(self.tolerance, 1e-12), color="grey", lw=0.8, label="tolerance")
        axes.set(
            xlabel="distance (voxels)",
            ylabel="largest change (standard deviations of the result)",
            title=f"How far {self.name} looks",
        )
        axes.legend()
        return figure

    def __repr__(self) -> str:
        return text_table(f"Probe of {self.name}", self._facts(), 10)

    def _repr_html_(self) -> str:
        return html_table(f"Probe of {self.name}", self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        best = max(self.costs, key=lambda cost: cost.voxels_per_second, default=None)
        given = f"{counted(self.channels, 'channel')} of {self.input_dtype}"
        speed = "not measured"
        if best is not None:
            speed = (
                f"up to {speed_of(best.voxels_per_second)} (tile {_text(best.tile)}, "
                f"batch {best.batch}, {best.nbytes / 1e6:.0f} MB)"
            )
        return [
            ("takes", f"{given}, {'; '.join(map(_described, self.sizes))}"),
            ("gives", f"{counted(self.out_channels, 'channel')} of {self.dtype}"),
            ("halo", f"{_text(self.halo)} (before, behind: {_text(self.halo_sides)})"),
            ("align", _text(self.align)),
            ("cost", speed),
            ("advice", self.advice),
        ]


_ANEW = "Save it again with Probe.save, or probe the model anew: daskpatch.probe(model, …)."


def _as_fraction(kind: type[Fraction], value: str) -> Fraction:
    """The one type that JSON has no counterpart of."""
    return kind(value)


def _text(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _described(along: AxisSizes) -> str:
    if along.step == 0:
        return f"{counted(along.smallest, 'voxel')} only"
    return f"{counted(along.smallest, 'voxel')} and steps of {along.step}"


def _shown(side: Sequence[float]) -> list[float]:
    """On a logarithmic axis nothing is left out instead of drawn at minus infinity."""
    return [value if value > 0 else float("nan") for value in side]
