"""Which array of a file is meant, and refusals of levels and images that it does not have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..support import shown

_LISTED = 200
"""Letters of what a file holds that are told."""


@dataclass(frozen=True, slots=True)
class ArrayChoice:
    """Which array of a file is meant: by its name in the file, its level, its image (series)."""

    name: str | None = None
    level: int = 0
    image: int | str | None = None


def check_level(choice: ArrayChoice, levels: Sequence[object], path: str) -> int:
    """The level that is chosen, the finest being 0.

    Raises
    ------
    ValueError
        If there is none such.
    """
    if choice.level < len(levels):
        return choice.level
    listed = ", ".join(f"{i} {each}" for i, each in enumerate(levels))
    raise ValueError(
        f"level is {choice.level}, and {path} has {listed:.{_LISTED}}. Give one of these."
    )


def chosen_image(choice: ArrayChoice, names: Sequence[str], path: str) -> int:
    """The index of the image that is chosen, by index or name; the first where none is.

    Raises
    ------
    ValueError
        If there is none such.
    """
    image = choice.image
    if image is None:
        return 0
    if isinstance(image, str) and names.count(image) == 1:
        return names.index(image)
    # On the command line an index is a text, too.
    index = int(image) if isinstance(image, str) and image.isdecimal() else image
    if isinstance(index, int) and 0 <= index < len(names):
        return index
    listed = ", ".join(f"{i} ({each})" for i, each in enumerate(names))
    raise ValueError(
        f"image is {shown(image)}, and {path} holds {listed:.{_LISTED}}. Give one of these."
    )


def check_one(choice: ArrayChoice, path: str, *, how: str = "") -> None:
    """Refuse to choose a level or an image where there is one array; `how` says what names it.

    Raises
    ------
    ValueError
        If one is chosen.
    """
    for word, chosen in (("level", choice.level or None), ("image", choice.image)):
        if chosen is not None:
            raise ValueError(
                f"{word} is {shown(chosen)}, and {path} has no {word}s to choose from; leave "
                f"{word} out{how}."
            )
