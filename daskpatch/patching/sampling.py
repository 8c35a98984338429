"""Random patches: draw i is a function of (seed, epoch, i) and of nothing else."""

from __future__ import annotations

import operator
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..geometry import Sizes, as_sizes, given
from .arguments import Shapes, as_shapes
from .sequence import Offsets, Strategy
from .types import PatchSpecs

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mixed(value: int) -> int:
    """SplitMix64's output function: 64 well-mixed bits from 64 bits.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014
    (doi:10.1145/2660193.2660195).

    >>> hex(mixed(1))
    '0x910a2dec89025cc1'
    """
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class RandomStrategy(Strategy[PatchSpecs]):
    """Base of the random strategies: as many patches per sample as would tile it."""

    data_shapes: Shapes
    patch_size: tuple[int, ...]
    seed: int
    _key: int
    _per_sample: tuple[int, ...]
    _offsets: Offsets

    def _draw(
        self,
        data_shapes: Sequence[Sequence[int]],
        patch_size: Sizes,
        seed: int | None,
        epoch: int = 0,
    ) -> None:
        """Normalise the arguments, and find the key of all draws."""
        shapes = as_shapes(data_shapes)
        sizes = as_sizes("patch_size", patch_size, len(shapes[0]) - 2, least=1)
        word = secrets.randbits(63) if seed is None else _as_word("seed", seed)
        per_sample = tuple(_patches_per_sample(shape, sizes) for shape in shapes)
        self._set(
            data_shapes=shapes,
            patch_size=sizes,
            seed=word,
            _key=mixed(mixed(word) ^ _as_word("epoch", epoch)),
            _per_sample=per_sample,
            _offsets=Offsets([s[0] * n for s, n in zip(shapes, per_sample, strict=True)]),
        )

    @property
    def n_patches(self) -> int:
        return self._offsets.total

    def get_patch_spec(self, index: int) -> PatchSpecs:
        """The patch of an index: its sample is fixed, its place drawn."""
        data_idx, within = self._offsets.find(index)
        shape, patch_size = self.data_shapes[data_idx], self.patch_size
        # A function of the index alone: workers that share a generator would draw the same places.
        word = mixed(self._key ^ (index & _MASK))
        coords = []
        for size, patch in zip(shape[2:], patch_size, strict=True):
            word = mixed(word)
            # Lemire's multiply-shift: uniform over the places to within 2**-64 of their number.
            coords.append((word * (size - patch + 1)) >> 64 if size > patch else 0)
        return {
            "data_idx": data_idx,
            "sample_idx": within // self._per_sample[data_idx],
            "coords": tuple(coords),
            "patch_size": patch_size,
        }

    def get_patch_indices(self, data_idx: int) -> range:
        """The indices of one image stack's patches."""
        return self._offsets.indices(data_idx)


@dataclass(frozen=True, init=False)
class RandomPatching(RandomStrategy):
    """Patches at random places, other ones in each epoch.

    A sample has as many patches as would tile it: the product over its axes of
    `ceil(size / patch)`. Where an axis is smaller than the patch, the patch starts at 0.

    Parameters
    ----------
    data_shapes
        One `SC(Z)YX` shape per image stack.
    patch_size
        Voxels per spatial axis, or one number for all.
    seed
        0 to 2**64 - 1; None draws one, which the repr shows.
    epoch
        0 to 2**64 - 1.

    Raises
    ------
    ValueError
        If the sizes don't fit, or seed or epoch are out of range.

    Examples
    --------
    >>> patches = RandomPatching([(1, 1, 100, 100)], 32, seed=1)
    >>> len(patches), patches[0]["coords"], patches.with_epoch(1)[0]["coords"]
    (16, (61, 14), (54, 3))
    """

    data_shapes: Shapes
    patch_size: tuple[int, ...]
    seed: int
    epoch: int

    def __init__(
        self,
        data_shapes: Sequence[Sequence[int]],
        patch_size: Sizes,
        seed: int | None = None,
        epoch: int = 0,
    ) -> None:
        self._draw(data_shapes, patch_size, seed, epoch)
        self._set(epoch=epoch)

    def with_epoch(self, epoch: int) -> RandomPatching:
        """The same strategy with the draws of another epoch."""
        return replace(self, epoch=epoch)


@dataclass(frozen=True, init=False)
class FixedRandomPatching(RandomStrategy):
    """Patches at random places, the same in every epoch: for validation.

    Arguments and errors are those of `RandomPatching`, and so are the draws of its epoch 0.

    >>> from daskpatch import RandomPatching
    >>> shapes = [(1, 1, 100, 100)]
    >>> list(FixedRandomPatching(shapes, 32, seed=1)) == list(RandomPatching(shapes, 32, seed=1))
    True
    """

    data_shapes: Shapes
    patch_size: tuple[int, ...]
    seed: int

    def __init__(
        self, data_shapes: Sequence[Sequence[int]], patch_size: Sizes, seed: int | None = None
    ) -> None:
        self._draw(data_shapes, patch_size, seed)


def _as_word(name: str, value: int) -> int:
    try:
        word = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {given(value)}; needed is an integer.") from None
    if not 0 <= word <= _MASK:
        raise ValueError(f"{name} is {word}; needed is an integer from 0 to 2**64 - 1.")
    return word


def _patches_per_sample(shape: tuple[int, ...], patch_size: tuple[int, ...]) -> int:
    count = 1
    for size, patch in zip(shape[2:], patch_size, strict=True):
        count *= -(-size // patch)
    return count
