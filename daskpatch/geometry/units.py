"""Units of space and time, by the names that OME has for them."""

from __future__ import annotations

_LONG = {
    "um": "micrometer", "µm": "micrometer", "μm": "micrometer", "micron": "micrometer",
    "microns": "micrometer", "nm": "nanometer", "mm": "millimeter", "cm": "centimeter",
    "m": "meter", "pm": "picometer", "Å": "angstrom",
    "s": "second", "sec": "second", "ms": "millisecond", "min": "minute", "h": "hour",
}  # fmt: skip


def long_unit(name: str) -> str:
    """The long name of a unit; of others the name that they have.

    >>> long_unit("um"), long_unit("parsec")
    ('micrometer', 'parsec')
    """
    return _LONG.get(name, name)
