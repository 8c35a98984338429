"""Tiles as they were asked for, and the strategy that they become for images and a model."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

import numpy as np

from ..geometry import Margin, Sizes, as_margin, as_sizes, plain_sizes
from ..model import Signature, import_attribute, split_name
from ..patching import AlignedPatching, Patching, check_larger_than
from ..probing import Probe, as_probe
from ..support import (
    FILE,
    NAME,
    SIZES,
    SIZES_OR_AUTO,
    Options,
    as_count,
    changed,
    counted,
    failure_told,
    need,
    option,
    shown,
)

AUTO: Literal["auto"] = "auto"

UnboundPatching = Callable[[Sequence[Sequence[int]]], Patching]
"""A strategy that waits for its shapes, such as `partial(TiledPatching, patch_size=64, …)`."""

TilesLike = Patching | UnboundPatching | str
"""A strategy, one without its images' shapes yet, or the name of either: `file.py:attribute`."""

_PROTOCOL = ("n_patches", "get_patch_spec", "get_patch_indices")


def is_auto(value: object) -> bool:
    """Whether a value is to be chosen."""
    return isinstance(value, str) and value == AUTO


_VOXELS = "voxels: an integer, or one for each spatial axis, such as (16, 64, 64)"


def _as_voxels(name: str, value: object) -> object:
    return _plain(name, value, _VOXELS)


def _as_voxels_or_auto(name: str, value: object) -> object:
    return value if is_auto(value) else _plain(name, value, f"{_VOXELS}; or 'auto'")


def _plain(name: str, value: object, needed: str) -> object:
    if value is None:
        return None
    need(not isinstance(value, str), name, value, needed)
    plain = plain_sizes(value)
    need(plain is not None, name, value, needed)
    return plain


def _as_batch(name: str, value: object) -> object:
    return value if is_auto(value) else as_count(name, value)


def _as_patching(name: str, value: object) -> object:
    """A strategy, or something that makes one of shapes; a class that does not is refused."""
    if isinstance(value, str) and ":" in value:
        value = import_attribute(*split_name(value, name))
    if value is None or _is_bound(value) or _takes_shapes(value):
        return value
    if isinstance(value, str):
        raise TypeError(
            f"{name} is {shown(value)}; needed is a strategy, by where it is: file.py:attribute "
            "or package.module:attribute."
        )
    raise TypeError(
        f"{name} is {shown(value)}; needed is a strategy (an instance), for example "
        "TiledPatching(data_shapes, patch_size, overlaps), or a function that makes one of "
        "data_shapes: partial(TiledPatching, patch_size=64, overlaps=16). Or give tiles a "
        "daskpatch.Tiles."
    )


def _is_bound(value: object) -> bool:
    return not isinstance(value, type) and all(hasattr(value, name) for name in _PROTOCOL)


def _takes_shapes(value: object) -> bool:
    if not callable(value):
        return False
    try:
        inspect.signature(value).bind(())
    except (TypeError, ValueError):
        return False
    return True


def _made(unbound: UnboundPatching, data_shapes: Sequence[Sequence[int]]) -> object:
    try:
        return unbound(data_shapes)
    except Exception as error:
        raise ValueError(
            failure_told(f"patching failed for data_shapes {shown(data_shapes)}", error)
        ) from error


@dataclass(frozen=True, repr=False)
class Tiles(Options):
    """How images are cut into tiles: a tiling that does not know its images yet.

    Parameters
    ----------
    patch_size, overlaps
        Voxels per spatial axis (one number serves for all) of an `AlignedPatching`, or `"auto"`:
        the tiles whose run is the fastest of those that give the whole image's result and fit
        memory; `plan.choice` says why. Two sizes for a source with a Z axis predict it slice by
        slice.
    align, min_size
        Of an `AlignedPatching`; by default what the probe found, else 1.
    batch_size
        Tiles per call of the model, or `"auto"`. Where memory runs out in a run, it is lowered.
    patching
        A strategy that returns `TileSpecs`, instead of these; or a function that makes one of the
        images' `SC(Z)YX` shapes, such as `partial(TiledPatching, patch_size=64, overlaps=16)`.
    probe
        What is known of the model: a `Probe`, or the path of a saved one or of a bioimage.io
        `rdf.yaml`.

    Raises
    ------
    TypeError, ValueError
        If it is no tiling.
    FileNotFoundError
        If there is no probe at a path.

    Examples
    --------
    >>> Tiles(64, 16).bound([(1, 1, 100, 100)])[0]["patch_size"]
    (64, 64)
    """

    patch_size: Sizes | Literal["auto"] | None = option(
        None,
        parser=SIZES_OR_AUTO,
        check=_as_voxels_or_auto,
        shows_in="tiling.patch_size",
        help="Voxels per spatial axis, or auto.",
        example=24,
    )
    overlaps: Sizes | Literal["auto"] | None = option(
        None,
        parser=SIZES_OR_AUTO,
        check=_as_voxels_or_auto,
        shows_in="tiling.overlaps",
        help="Voxels that neighbours share, or auto.  [0]",
        example=8,
    )
    align: Sizes | None = option(
        None,
        parser=SIZES,
        check=_as_voxels,
        shows_in="tiling.align",
        help="The network's total stride.  [the probe's, or 1]",
        example=2,
    )
    min_size: Sizes | None = option(
        None,
        parser=SIZES,
        check=_as_voxels,
        shows_in="tiling.min_size",
        help="The smallest tile.  [the probe's, or 1]",
        example=8,
    )
    batch_size: int | Literal["auto"] = option(
        1,
        parser=SIZES_OR_AUTO,
        check=_as_batch,
        help="Tiles per call of the model, or auto.",
        example=3,
    )
    patching: TilesLike | None = option(
        None,
        parser=NAME,
        check=_as_patching,
        shows_in="tiling",
        help="A strategy, as file.py:attribute (runs the file).",
        example=None,
    )
    probe: Probe | str | os.PathLike[str] | None = option(
        None,
        parser=FILE,
        check=lambda _, probe: as_probe(probe),
        shows_in="tiling",
        help="What is known of the model: of daskpatch probe --save.",
        example=None,
    )

    def _check(self) -> None:
        if self.patching is None:
            if self.patch_size is None:
                raise ValueError(
                    "Tiles have no size, patch_size is None: give patch_size (voxels per spatial "
                    "axis, one number, or 'auto'), or a strategy as patching=."
                )
            return
        given = [
            f"{declared.name}={shown(value)}"
            for declared, value in changed(self)
            if declared.name in _PLAIN and np.any(np.asarray(value) != _PLAIN[declared.name])
        ]
        if given:
            raise ValueError(
                f"Give patching= or {', '.join(given)}, not both: the strategy has its own sizes."
            )

    @property
    def known(self) -> Probe | None:
        """What is known of the model."""
        return as_probe(self.probe)

    @property
    def wanted_overlaps(self) -> Sizes | Literal["auto"] | None:
        """The overlaps; `"auto"` where sizes are and nothing was said of them."""
        return AUTO if is_auto(self.patch_size) and self.overlaps is None else self.overlaps

    @property
    def is_auto(self) -> bool:
        """Whether sizes are to be chosen."""
        return is_auto(self.patch_size) or is_auto(self.wanted_overlaps)

    @property
    def ndim(self) -> int | None:
        """How many spatial axes the tiles have, where that is said."""
        if self.patching is not None:
            bound: Any = self.patching
            if _is_bound(bound) and bound.n_patches > 0:
                return len(bound.get_patch_spec(0)["coords"])
            return None
        if isinstance(self.patch_size, tuple):
            if len(self.patch_size) not in (2, 3):
                raise ValueError(
                    f"patch_size is {self.patch_size}, "
                    f"{counted(len(self.patch_size), 'number')}; needed are two (YX) or three "
                    "(ZYX), or one number for all."
                )
            return len(self.patch_size)
        return None if self.known is None else self.known.ndim

    def decided(
        self, patch_size: tuple[int, ...], overlaps: tuple[int, ...], batch_size: int
    ) -> Tiles:
        """The same, with these sizes where they were to be chosen."""
        return replace(
            self,
            patch_size=patch_size if is_auto(self.patch_size) else self.patch_size,
            overlaps=overlaps if is_auto(self.wanted_overlaps) else self.overlaps,
            batch_size=batch_size,
        )

    def with_probe(self, probe: Probe) -> Tiles:
        """Grid and smallest tile from a probe, where they were not given."""
        if self.patching is not None:
            return self
        return replace(
            self,
            align=probe.grid if self.align is None else self.align,
            min_size=probe.min_size if self.min_size is None else self.min_size,
        )

    def bound(
        self,
        data_shapes: Sequence[Sequence[int]],
        *,
        margin: Margin | None = None,
        blends: bool = False,
    ) -> Patching:
        """The strategy for images of these `SC(Z)YX` shapes.

        `margin` are voxels that the model cuts off its tiles, where that is known already; tiles
        that are blended begin at multiples of the step.

        Raises
        ------
        ValueError
            If sizes don't fit each other, or are left to be chosen.
        """
        if self.patching is not None:
            unbound: Any = self.patching
            made: Any = unbound if _is_bound(unbound) else _made(unbound, data_shapes)
            if not _is_bound(made):
                raise TypeError(
                    f"patching made {shown(made)} of {shown(data_shapes)}; needed is a strategy, "
                    "such as TiledPatching(data_shapes, patch_size, overlaps)."
                )
            strategy: Patching = made
            return strategy
        if self.is_auto:
            raise ValueError("Sizes are 'auto'; they are chosen by daskpatch.plan.")
        sizes: Any = self.patch_size
        n_axes = len(data_shapes[0]) - 2
        align = as_sizes("align", 1 if self.align is None else self.align, n_axes, least=1)
        cut = as_margin(0 if margin is None else margin, n_axes)
        overlaps: Any = self.overlaps
        if overlaps is None:
            patch_size = as_sizes("patch_size", sizes, n_axes, least=1)
            check_larger_than(cut, patch_size)
            overlaps = tuple(
                sum(sides) + (p - sum(sides)) % a if any(sides) else 0
                for p, sides, a in zip(patch_size, cut, align, strict=True)
            )
        min_size = 1 if self.min_size is None else self.min_size
        return AlignedPatching(
            data_shapes, sizes, overlaps, align, min_size, cut, 0 if blends else None
        )

    def bound_to_model(
        self, data_shapes: Sequence[Sequence[int]], signature: Signature, *, blends: bool
    ) -> Patching:
        """The strategy for a model whose result has another size than its tile.

        Tiles start where an output voxel does.

        Raises
        ------
        ValueError
            If the sizes don't allow that.
        """
        if self.patching is not None:
            return self.bound(data_shapes)
        n_axes = len(signature.scale)
        align = as_sizes("align", 1 if self.align is None else self.align, n_axes, least=1)
        cells = tuple(map(math.lcm, align, signature.cells))
        margin = signature.margins
        try:
            on_cells = replace(self, align=cells)
            return on_cells.bound(data_shapes, margin=margin, blends=blends)
        except ValueError as error:
            raise ValueError(
                f"The model gives {said_of_sizes(signature)}, so tiles lie on multiples of "
                f"{cells}. {error}"
            ) from error


def said_of_sizes(signature: Signature) -> str:
    """How large a model's arrays are, in words.

    >>> from daskpatch.model import OutputArray, Sizing
    >>> said_of_sizes(Signature((OutputArray(1, "float32"),), (Sizing.same(2),)))
    '1, 1 voxels per voxel of its tile, less a margin of ((0, 0), (0, 0))'
    """
    each = dict.fromkeys(signature.sizings)
    scales = " and ".join(", ".join(map(str, sizing.scale)) for sizing in each)
    margins = " and ".join(str(margin) for margin in dict.fromkeys(s.margin for s in each))
    return f"{scales} voxels per voxel of its tile, less a margin of {margins}"


_PLAIN: dict[str, int | None] = {"patch_size": None, "overlaps": 0, "align": 1, "min_size": 1}
"""What comes to the same as saying nothing, beside a strategy."""


class TilesWords(TypedDict, total=False):
    """The flat words of `Tiles`."""

    patch_size: Sizes | Literal["auto"] | None
    overlaps: Sizes | Literal["auto"] | None
    align: Sizes | None
    min_size: Sizes | None
    batch_size: int | Literal["auto"]
    patching: TilesLike | None
    probe: Probe | str | os.PathLike[str] | None
