"""Pyramids of images that are there, built or completed out of core."""

from .pyramid_image import begun_at, begun_unlisted
from .verb import pyramid, rebuild
