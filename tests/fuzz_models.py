"""Models whose result for a whole image is known: what they give for the image, padded."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np


@dataclass(frozen=True)
class FuzzModel:
    """A model that never falls where its input rises, and what it takes around an image.

    Attributes
    ----------
    call
        From a batch `(N, C, (Z), Y, X)` to its result, of tiles and of whole images alike.
    scale, margin
        As options of those names say them.
    names
        Of its arrays; one alone has none.
    """

    call: Callable[[np.ndarray], object]
    scale: Fraction = Fraction(1)
    margin: int = 0
    names: tuple[str, ...] = ("",)

    def array(self, batch, name):
        """One of its arrays."""
        results = self.call(batch)
        if isinstance(results, tuple):
            return results[self.names.index(name)]
        return results[name] if isinstance(results, dict) else results


def double(batch):
    return batch.astype("f4") * 2 + 1


def steps(batch):
    """Integers: labels, where nothing else is said."""
    return np.clip(np.floor(batch / 8), 0, 9).astype("u1")


def sums(batch):
    """Two channels, whatever comes in."""
    total = batch[:, :1] * np.float32(1)
    for number in range(1, batch.shape[1]):  # in one order, however it lies in memory
        total += batch[:, number : number + 1]
    return np.concatenate([total, total / 2 + 1], axis=1)


def twice(batch):
    for axis in range(2, batch.ndim):
        batch = np.repeat(batch, 2, axis=axis)
    return batch


def half(batch):
    """Means of cells of two voxels along each axis; what is left of an odd one is dropped."""
    return _mean_of(batch, [(slice(0, n // 2 * 2, 2), slice(1, None, 2)) for n in batch.shape[2:]])


def valid(batch):
    """Means of three voxels along each axis, of those that have neighbours."""
    within = (slice(None, -2), slice(1, -1), slice(2, None))
    return _mean_of(batch, [within] * (batch.ndim - 2))


def pair(batch):
    return double(batch), steps(batch)


def named(batch):
    return {"a": sums(batch), "b": steps(batch)}


def _mean_of(batch, along):
    parts = [batch[(slice(None), slice(None), *chosen)] for chosen in product(*along)]
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total / np.asarray(len(parts), total.dtype)


MODELS = {
    "double": FuzzModel(double),
    "steps": FuzzModel(steps),
    "sums": FuzzModel(sums),
    "twice": FuzzModel(twice, scale=Fraction(2)),
    "half": FuzzModel(half, scale=Fraction(1, 2)),
    "valid": FuzzModel(valid, margin=1),
    "pair": FuzzModel(pair, names=("output0", "output1")),
    "named": FuzzModel(named, names=("a", "b")),
}
