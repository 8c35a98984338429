"""What happens to a tile beside the tiling: values in, model, positions, stitching, values out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..model import SharedModel, Signature, as_handle
from ..patching import as_margin
from ..probing import Probe
from ..values import Normalization, Position, as_augment, check_stitch, number_dtype, positions

Margin = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Treatment:
    """Options of `plan` that say how a tile becomes voxels, checked.

    `scale` and `margin` are None where the trial is to find them out.
    """

    model: SharedModel
    input_dtype: np.dtype[Any]
    stitch: str
    augment: tuple[str, ...]
    positions: tuple[Position, ...]
    post: SharedModel | None
    normalization: Normalization | None
    denormalize: bool
    scale: tuple[Fraction, ...] | None
    margin: Margin | None

    def __post_init__(self) -> None:
        if self.normalization is not None and self.input_dtype.kind != "f":
            raise ValueError(
                f"input_dtype is {self.input_dtype}; normalised values are no integers: give a "
                "dtype of floats."
            )
        if not isinstance(self.denormalize, bool):
            raise ValueError(f"denormalize is {self.denormalize!r}; needed is True or False.")
        if self.denormalize and self.normalization is None:
            raise ValueError("denormalize maps back what normalize did; give normalize too.")

    def with_probe(self, probe: Probe) -> Treatment:
        """Scale and margin from a probe, where they were not given."""
        if self.says_size or probe.keeps_size:
            return self
        return replace(self, scale=probe.scale, margin=probe.margin)

    def check_channels(self, n_channels: int) -> None:
        """Refuse constants for other channels than an image has.

        Raises
        ------
        ValueError
            If there are several, and not one per channel.
        """
        normalization = self.normalization
        if normalization is None or normalization.constants is None:
            return
        n_constants = len(normalization.constants.offset)
        if n_constants not in (1, n_channels):
            raise ValueError(
                f"normalize has {n_constants} numbers for {n_channels} channel(s); give one, or "
                "one per channel."
            )

    def check_positions(self, signature: Signature) -> None:
        """Refuse positions in which results would not lie where they belong.

        Raises
        ------
        ValueError
            If flips or turns don't map margins and scales onto themselves.
        """
        margin = signature.margin
        if self.augment and any(abs(before - behind) > 1 for before, behind in margin):
            raise ValueError(
                f"augment turns tiles around, and the margin {margin} is not the same on both "
                "sides; leave augment out."
            )
        if "rot90" in self.augment and (
            signature.scale[-1] != signature.scale[-2] or margin[-1] != margin[-2]
        ):
            raise ValueError(
                f"augment turns Y into X, which have scales {signature.scale[-2:]} and margins "
                f"{margin[-2:]}; needed are the same. Give augment='flips', or none."
            )

    @property
    def says_size(self) -> bool:
        """Whether scale or margin was given."""
        return self.scale is not None or self.margin is not None

    def check_denormalizes(self, signature: Signature, n_channels: int) -> None:
        """Refuse to map channels back that have no counterpart in the input.

        Raises
        ------
        ValueError
            If each channel was normalised on its own, and the model gives other channels.
        """
        normalization = self.normalization
        assert normalization is not None
        n_maps = n_channels if normalization.per_channel else 1
        if normalization.constants is not None:
            n_maps = len(normalization.constants.offset)
        given = [output.channels for output in signature.outputs]
        if n_maps > 1 and any(channels != n_maps for channels in given):
            raise ValueError(
                f"denormalize cannot map {given} channels back: {n_maps} were normalised, each on "
                "its own. Normalise them together (normalize_per_channel=False), or leave "
                "denormalize out."
            )


def as_treatment(
    model: Any,
    *,
    data_shape: tuple[int, ...],
    input_dtype: Any,
    stitch: Any,
    augment: Any,
    post: Any,
    normalization: Normalization | None,
    denormalize: bool,
    scale: Any,
    margin: Any,
) -> Treatment:
    """The options of `plan` that its docstring describes, for images of an `SC(Z)YX` shape.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        If one is not what it needs to be.
    """
    n_channels, *spatial = data_shape[1:]
    kinds = as_augment(augment)
    treatment = Treatment(
        model=as_handle(model),
        input_dtype=number_dtype("input_dtype", input_dtype),
        stitch=check_stitch(stitch),
        augment=kinds,
        positions=positions(kinds, len(spatial)),
        post=None if post is None else as_handle(post, "post"),
        normalization=normalization,
        denormalize=denormalize,
        scale=as_scale(scale, len(spatial)),
        margin=None if margin is None else as_margin(margin, len(spatial)),
    )
    treatment.check_channels(n_channels)
    return treatment


def as_scale(value: Any, ndim: int) -> tuple[Fraction, ...] | None:
    """Output voxels per input voxel: a number, or one per axis.

    Raises
    ------
    ValueError
        If one is no number above 0.
    """
    if value is None:
        return None
    entries = list(value) if np.ndim(value) else [value] * ndim
    try:
        scale = tuple(
            Fraction(entry if isinstance(entry, str | Fraction) else float(entry))
            for entry in entries
        )
        scale = tuple(entry.limit_denominator(1024) for entry in scale)
    except (TypeError, ValueError, ArithmeticError):
        scale = ()
    if len(scale) != ndim or any(s <= 0 for s in scale):
        raise ValueError(
            f"scale is {value!r}; needed are the output's voxels per voxel of the input, such as 2 "
            f"or '1/4': one number, or one for each of {ndim} axes."
        )
    return scale
