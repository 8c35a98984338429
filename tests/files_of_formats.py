"""Files of other formats, written without daskpatch, with the array that each holds."""

import h5py
import nibabel
import numpy as np
import tifffile

CHANNELS = ("DAPI", "GFP", "RFP")


def letters(value):
    """Text as Imaris stores it: an array of letters."""
    return np.array([letter.encode() for letter in str(value)], "S1")


def save_imaris(path, values):
    """An Imaris file of a TCZYX array, with two levels, filled up to whole chunks."""
    with h5py.File(path, "w") as file:
        for level in range(2):
            for t, c in np.ndindex(values.shape[:2]):
                step = 2**level
                part = values[t, c, ::step, ::step, ::step]
                channel = file.create_group(
                    f"DataSet/ResolutionLevel {level}/TimePoint {t}/Channel {c}"
                )
                padded = np.pad(part, [(0, -n % 16) for n in part.shape])
                channel.create_dataset("Data", data=padded, chunks=(16,) * 3, compression="gzip")
                for axis, n in zip("ZYX", part.shape, strict=True):
                    channel.attrs[f"ImageSize{axis}"] = letters(n)
        image = file.create_group("DataSetInfo/Image")
        image.attrs["Unit"] = letters("um")
        for number, n in enumerate(values.shape[:1:-1]):  # X, Y, Z
            image.attrs[f"ExtMin{number}"] = letters(10)
            image.attrs[f"ExtMax{number}"] = letters(10 + n / 2)
        for c in range(values.shape[1]):
            group = file.create_group(f"DataSetInfo/Channel {c}")
            group.attrs["Name"] = letters(CHANNELS[c])


def save_ome_tiff(path, values):
    """A tiled, compressed OME-TIFF of a CYX array, with a second level."""
    metadata = {
        "axes": "CYX",
        "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.2, "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": list(CHANNELS)},
    }  # fmt: skip
    how = {"tile": (64, 64), "compression": "zlib", "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(values, subifds=1, metadata=metadata, **how)
        file.write(values[:, ::2, ::2], subfiletype=1, **how)


def save_nifti(path, values, kind=nibabel.Nifti1Image):
    """A NIfTI file of a ZYX array."""
    image = kind(values.T, np.diag([0.5, 0.6, 2.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def save_hdf5(path, values, **how):
    """An HDF5 file with an array of named axes and others."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("group/raw", data=values, **how)
        for dimension, name in zip(data.dims, "zyx", strict=True):
            dimension.label = name
        data.attrs["element_size_um"] = [2.0, 0.5, 0.25]
        file["names"] = "a text"
        file["row"] = np.arange(3)
        file["table"] = np.zeros((4, 4), [("a", "i4")])


def imagej(path, values):
    metadata = {"axes": "ZYX", "spacing": 3, "unit": "um"}
    tifffile.imwrite(path, values, imagej=True, resolution=(4, 2), metadata=metadata)


ZYX = {"axes": "ZYX"}

TIFFS = {
    "strips": {"metadata": ZYX}, "ome": {"metadata": ZYX, "ome": True},
    "tiles": {"metadata": ZYX, "tile": (32, 48), "compression": "zlib"},
    "predictor": {"metadata": ZYX, "tile": (32, 48), "compression": "lzw", "predictor": True},
    "compressed strips": {"metadata": ZYX, "rowsperstrip": 7, "compression": "zlib"},
    "short strips": {"metadata": ZYX, "rowsperstrip": 7},
    "other endian": {"metadata": ZYX, "byteorder": ">"},
    "other endian, tiles": {
        "metadata": ZYX, "byteorder": ">", "tile": (32, 48), "compression": "zlib"
    },
    "volumetric": {"metadata": ZYX, "tile": (4, 32, 32), "volumetric": True},
    "big": {"metadata": ZYX, "bigtiff": True, "compression": "zstd"},
}  # fmt: skip
"""Ways in which tifffile writes a volume, all of which say their axes."""


def whole(image):
    """All voxels of an opened image, along the axes of its file."""
    return image.array.read(tuple(slice(0, n) for n in image.original_data_shape))
