"""Image stacks: any array, seen as S C (Z) Y X."""

from .identity import SAMPLES, identity_of_image
from .information import information
from .opening import open_image, open_stack
from .series import open_series
from .stack import (
    ArrayImage,
    ImageStack,
    chunks_of,
    dimensions_of,
    why_not_portable,
    with_io,
)

__all__ = [
    "SAMPLES",
    "ArrayImage",
    "ImageStack",
    "chunks_of",
    "dimensions_of",
    "identity_of_image",
    "information",
    "open_image",
    "open_series",
    "open_stack",
    "why_not_portable",
    "with_io",
]
