"""OME-Zarr images, written and read without daskpatch."""

import numpy as np
import zarr

SCALES = {"t": 30.0, "c": 1.0, "z": 2.0, "y": 0.65, "x": 0.65}
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}


def image(path, values, axes="zyx", version="0.5", names=(), units=UNITS, offset=3.0):
    """An OME-Zarr image of one level; offset is the translation, of all axes or of each."""
    group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3)
    chunks = tuple({"z": 4, "y": 16, "x": 16}.get(axis, 1) for axis in axes)
    group.create_array("s0", data=values, chunks=chunks)
    told = {
        "axes": [
            {"name": axis, **({"unit": units[axis]} if axis in units else {})} for axis in axes
        ],
        "datasets": [
            {
                "path": "s0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [SCALES[axis] for axis in axes]},
                    {
                        "type": "translation",
                        "translation": np.broadcast_to(offset, len(axes)).tolist(),
                    },
                ],
            }
        ],
    }
    further = {"omero": {"channels": [{"label": name} for name in names]}} if names else {}
    if version == "0.4":
        group.attrs.update({"multiscales": [{**told, "version": version}], **further})
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [told], **further}
    return path


def dataset(path, *scale):
    """A level of an image, and how far its voxels are apart."""
    return {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [*scale]}]}


def said(path):
    """What a group says of its image, whatever its version."""
    attributes = zarr.open_group(str(path), mode="r").attrs.asdict()
    return attributes.get("ome", attributes)
