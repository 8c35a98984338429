"""Zarr arrays on disk, written and read without daskpatch."""

import zarr
from zarr.codecs import BloscCodec


def save(path, values, *, chunks, dimension_names=None, **options):
    """Write an array as Zarr."""
    if options.get("zarr_format", 3) == 3:
        options.setdefault("compressors", BloscCodec(cname="zstd", clevel=1))
    array = zarr.create_array(
        store=str(path),
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        dimension_names=dimension_names,
        **options,
    )
    array[:] = values
    return array


def read(path):
    """A whole Zarr array."""
    return zarr.open_array(store=str(path), mode="r")[...]
