"""The strategy for some images and a model, found together with what the model gives."""

from __future__ import annotations

from dataclasses import dataclass

from ..image import ImageStack
from ..patching import Patching, TileGrid, grids_of
from ..probing import Probe
from .agreement import check_geometry, check_values
from .first_look import FirstLook
from .memory import check_tile
from .plan_options import PlanOptions
from .trial import Trial, run_trial
from .trial_tile import TrialTile
from .working_memory import Calling


@dataclass(frozen=True)
class Tiling:
    """A strategy for some images, its grids (checked once), and what a tile showed of the model."""

    patching: Patching
    grids: tuple[TileGrid, ...]
    trial: Trial


def bind_tiles(
    options: PlanOptions, images: tuple[ImageStack, ...], look: FirstLook, known: Probe | None
) -> Tiling:
    """The strategy, its grids, and what the model gave for one of its tiles.

    `known` is a probe of the model, where there is one. Where a result has another size than the
    tile, the strategy is one that allows for it.

    Raises
    ------
    ValueError
        If tiles, images and model don't go together.
    MemoryError
        If one tile alone does not fit memory.
    ModelError
        If the model fails on the tile.
    """
    model, tiles = options.model, options.tiles
    check_values(model, options.normalize, images[0].data_shape[1])
    shapes = [image.data_shape for image in images]
    blends = options.output.blends
    margin = model.margin_of(len(shapes[0]) - 2)
    patching = tiles.bound(shapes, margin=margin, blends=blends)
    grids = grids_of(patching, shapes)
    tile = TrialTile.of(images, grids, model, options.normalize)
    check_tile(tile.image, tile.shape, model.dtype, options.limits.nbytes)
    calling = Calling.of(sum(grid.n_tiles for grid in grids), options.limits.n_threads)
    trial = run_trial(tile, options, look, known, calling)
    signature = trial.signature
    if known is not None and not model.says_size:
        known.check_sizes(signature.scale, signature.margin)
    if not signature.keeps_size:
        fitting = tiles.bound_to_model(shapes, signature, blends=blends)
        if fitting is not patching:
            patching, grids = fitting, grids_of(fitting, shapes)
        check_geometry(signature, grids, type(patching).__name__)
    return Tiling(patching, grids, trial)
