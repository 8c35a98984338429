"""A model under examination: what it is given, and what it says to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import LoadedModel, advice_for, is_for_all_sizes, is_out_of_memory
from ..support import all_said_by, cause_of
from ..values import convert, finite_mean_and_deviation

Values = NDArray[Any]
Shape = tuple[int, ...]

Noise = Callable[[Shape, int], Values]
"""An image `C(Z)YX` for a shape and a seed."""

_INTEGERS = 1000
"""Noise for models of integers is below it, and below the dtype's largest value."""

_RARITY = 32
"""The power of a random number from 0 to 1 that integers are made of: 2 % of them are large."""

_REPEATED = 16
"""Voxels along each axis of noise that is repeated."""

_AMPLITUDES = (1.0, 8.0, 64.0)
_SHARES = (0.8, 0.15, 0.05)
"""Of strong noise: in standard deviations, and how many of its voxels have them."""


class RefusedError(Exception):
    """The model does not take this: it failed, or gave something else than `(N, C', (Z), Y, X)`.

    `is_for_all_sizes` says that images of no size would do: others are not tried.
    """

    def __init__(self, reason: str, *, is_for_all_sizes: bool = False) -> None:
        super().__init__(reason)
        self.is_for_all_sizes = is_for_all_sizes


@dataclass(frozen=True)
class ProbedModel:
    """A model and what it is fed with: noise and, where there is one, a sample.

    Parameters
    ----------
    model
        A callable of `(N, C, (Z), Y, X)`.
    channels, ndim, dtype
        Channels, spatial axes and dtype of its input.
    sample
        `C(Z)YX`: what the model is made for; noise has its mean and standard deviation.
    """

    model: LoadedModel
    channels: int
    ndim: int
    dtype: np.dtype[Any]
    sample: Values | None = None

    def __call__(self, batch: Values) -> Values:
        """The model's result.

        Raises
        ------
        RefusedError
            If it fails, or gives something that is no batch of images.
        MemoryError
            If there is too little memory, also on a GPU.
        """
        try:
            results = self.model(batch.copy())  # it may work in place
        except Exception as error:  # noqa: BLE001 (the user's own code)
            if is_out_of_memory(error):
                raise MemoryError(str(error)) from cause_of(error)
            advice = advice_for(error, batch.shape, str(batch.dtype))
            raise RefusedError(
                f"{type(error).__name__}: {all_said_by(error)}" + (f". {advice}" if advice else ""),
                is_for_all_sizes=is_for_all_sizes(error, batch.shape, str(batch.dtype)),
            ) from cause_of(error)
        result = _joined(list(results.values()))
        if result.ndim != batch.ndim or len(result) != len(batch) or 0 in result.shape:
            gave = f"shape {result.shape}" if result.ndim else f"{result.item()!r:.60}"
            raise RefusedError(
                f"it gave {gave} for a batch of shape {batch.shape}",
                is_for_all_sizes=result.ndim != batch.ndim,
            )
        return result

    def typical(self, shape: Shape, seed: int) -> Values:
        """What the model is made for, as far as that is known: the sample, else noise."""
        return self.noise(shape, seed) if self.sample is None else self.excerpt(shape, seed)

    def mixed(self, shape: Shape, seed: int, axis: int) -> Values:
        """Noise and, where there is a sample, that in the second half along an axis."""
        image = self.noise(shape, seed)
        if self.sample is not None:
            half = self.halves(image, axis)[-1]
            half[...] = self.excerpt(half.shape[1:], seed)
        return image

    def halves(self, values: Values, axis: int) -> list[Values]:
        """Such an image, or a result of it, in its parts: of noise and of the sample."""
        if self.sample is None:
            return [values]
        return [half for half in np.array_split(values, 2, axis=axis + 1) if half.size]

    def noise(self, shape: Shape, seed: int) -> Values:
        """An image `C(Z)YX` of normal noise, with the sample's mean and standard deviation."""
        return self._noise(shape, np.random.default_rng(seed), 1.0)

    def repeated_noise(self, shape: Shape) -> Values:
        """A little noise again and again: for whether a size is taken, what is in it is no matter.

        Random numbers for all sizes of cubes would take a minute.
        """
        few = self.noise((_REPEATED,) * self.ndim, 0)
        return np.resize(few, (self.channels, *shape))

    def strong_noise(self, shape: Shape, seed: int) -> Values:
        """Noise of which some voxels are far off: weak ones lose against neighbours in poolings."""
        rng = np.random.default_rng(seed)
        amplitudes = rng.choice(_AMPLITUDES, (self.channels, *shape), p=_SHARES)
        return self._noise(shape, rng, amplitudes)

    def _noise(self, shape: Shape, rng: np.random.Generator, amplitude: float | Values) -> Values:
        shape = (self.channels, *shape)
        if self.sample is not None:
            mean, deviation = finite_mean_and_deviation(self.sample)
            return self._cast(rng.normal(mean, amplitude * (deviation or 1.0), shape))
        if self.dtype.kind in "biu":
            top = 1 if self.dtype.kind == "b" else min(_INTEGERS, int(np.iinfo(self.dtype).max))
            return _uneven(rng, shape, top).astype(self.dtype)
        return self._cast(rng.normal(0.0, amplitude, shape))

    def excerpt(self, shape: Shape, seed: int) -> Values:
        """Some place of the sample, mirrored where the sample is smaller."""
        assert self.sample is not None
        rng = np.random.default_rng(seed)
        sample = self.sample
        missing = [max(n - m, 0) for n, m in zip(shape, sample.shape[1:], strict=True)]
        sample = np.pad(sample, [(0, 0), *((0, n) for n in missing)], mode="symmetric")
        starts = [
            int(rng.integers(m - n + 1)) for n, m in zip(shape, sample.shape[1:], strict=True)
        ]
        place = tuple(slice(a, a + n) for a, n in zip(starts, shape, strict=True))
        return self._cast(sample[(slice(None), *place)])

    def _cast(self, values: Values) -> Values:
        given = np.empty(values.shape, self.dtype)
        convert(given, values)
        return given


def _uneven(rng: np.random.Generator, shape: Shape, top: int) -> Values:
    """Few large integers among small ones, and few small among large: in turns along each axis.

    Of as many of each, the largest and smallest of a neighbourhood are the same everywhere.
    """
    few = np.rint(top * rng.random(shape) ** _RARITY)
    halves = np.meshgrid(*(np.arange(n) >= n // 2 for n in shape[1:]), indexing="ij")
    return np.where(np.logical_xor.reduce(halves), few, top - few)


def _joined(results: list[Values]) -> Values:
    """Several results as channels of one; voxels of coarser ones stand for all that they cover."""
    if len(results) == 1:
        return results[0]
    finest = max((result.shape[2:] for result in results), key=math.prod)
    try:
        return np.concatenate([_refined(result, finest) for result in results], axis=1)
    except ValueError as error:
        shapes = [result.shape for result in results]
        raise RefusedError(
            f"its results have shapes {shapes}, which differ in space, and not by whole factors"
        ) from cause_of(error)


def _refined(result: Values, shape: Shape) -> Values:
    """A result with each voxel repeated, as it covers a shape."""
    if result.ndim != len(shape) + 2:
        return result
    for axis, n in enumerate(shape, start=2):
        factor = -(-n // max(result.shape[axis], 1))
        # One that does not cover the shape by whole factors is left as it is, and not joined.
        if factor > 1 and result.shape[axis] == -(-n // factor):
            result = result.repeat(factor, axis)[(slice(None),) * axis + (slice(n),)]
    return result
