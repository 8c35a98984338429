"""What libraries note of a class's fields: defaults, which methods are generated from, metadata.

Of dataclasses, attrs (23 to 25), msgspec (0.18 to 0.21) and pydantic (2); none is imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from .installed import module_of

_UNSET = ("NOTHING", "NODEFAULT", "PydanticUndefined")


def defaults_of(kind: type) -> Iterator[tuple[str, object]]:
    """Defaults of a class's own fields, what makes or changes their values, and their metadata.

    >>> @dataclasses.dataclass
    ... class Settings:
    ...     sizes: list = dataclasses.field(default_factory=list)
    >>> list(defaults_of(Settings))
    [('sizes.default_factory', <class 'list'>)]
    """
    noted = vars(kind)
    for name, field in dict(noted.get("__dataclass_fields__") or {}).items():
        yield from _told(name, field, "default", "default_factory", "metadata")
    for field in noted.get("__attrs_attrs__") or ():
        yield from _told(
            field.name, field, "default", "converter", "validator", "on_setattr", "metadata"
        )
    for name, field in dict(noted.get("__pydantic_fields__") or {}).items():
        yield from _told(name, field, "default", "default_factory")
    yield from _of_struct(kind)


def _of_struct(kind: Any) -> Iterator[tuple[str, object]]:
    if module_of(type(kind)).partition(".")[0] != "msgspec":
        return
    defaults = kind.__struct_defaults__
    # As of a function: of the last fields.
    named = zip(reversed(kind.__struct_fields__), reversed(defaults), strict=False)
    for name, default in named:
        yield from _plain(f"{name}.default", default)


def _told(name: str, field: object, *parts: str) -> Iterator[tuple[str, object]]:
    for part in parts:
        yield from _plain(f"{name}.{part}", getattr(field, part, None))


def _plain(name: str, value: object) -> Iterator[tuple[str, object]]:
    """What is set; of what attrs and msgspec wrap a factory in, the factory."""
    is_empty = isinstance(value, MappingProxyType) and not value
    if value is None or is_empty or value is dataclasses.MISSING or repr(value) in _UNSET:
        return
    is_wrapped = type(value).__name__ == "Factory" and hasattr(value, "factory")
    yield name, getattr(value, "factory") if is_wrapped else value  # noqa: B009
