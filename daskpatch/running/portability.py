"""Whether tasks and worker processes can have what a prediction is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from ..block import Recipe
from ..engine import why_not_sent
from ..image import ImageStack, is_held_by_cluster, why_not_portable
from ..output import Target


def check_in_tasks(images: Sequence[ImageStack]) -> None:
    """Refuse images that tasks of a cluster could not read.

    Raises
    ------
    ValueError
        If the cluster holds one itself.
    """
    for image in filter(is_held_by_cluster, images):
        _refuse_source(image, str(why_not_portable(image)))


def check_portable(recipe: Recipe, target: Target) -> None:
    """Refuse what other processes could not have: images, masks, code, an output.

    Raises
    ------
    ValueError
        If there is something; how it could be given is told.
    """
    for image in recipe.images:
        reason = why_not_portable(image)
        if reason:
            _refuse_source(image, reason)
    for mask in recipe.masks:
        why = why_not_portable(mask.image)
        if why:
            raise ValueError(
                f"The mask {mask.image.source} cannot be used by workers: {why}, or run with "
                "threads (threads=…)."
            )
    for name, code in recipe.codes.items():
        what, reason = name if name == "model" else f"function {name}", why_not_sent(code)
        if reason:
            raise ValueError(
                f"The {what} {code.handle.name} cannot be sent to worker processes ({reason}); "
                "name it as 'file.py:attribute', which they load themselves, or run with "
                "threads (threads=…)."
            )
    _check_output(target)


def _check_output(target: Target) -> None:
    if target.location.lives_in_this_process:
        raise ValueError(
            f"The output {target.name} lives in this process's memory, of which worker "
            "processes would write into copies; write to disk, or run with threads (threads=…)."
        )
    reason = why_not_sent(target.location.store)
    if reason:
        raise ValueError(
            f"The output {target.name} cannot be used by worker processes: its store "
            f"cannot be sent to them ({reason}); name it by path or URL, or run with threads "
            "(threads=…)."
        )


def _refuse_source(image: ImageStack, reason: str) -> NoReturn:
    raise ValueError(
        f"The source {image.source} cannot be used by workers: {reason}; or run with threads "
        "(threads=…)."
    )
