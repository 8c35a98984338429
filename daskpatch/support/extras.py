"""Optional packages: imported when they are used, and named by their extra when missing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

_EXTRAS = {
    "tensorstore": "fast",
    "torch": "torch",
    "onnxruntime": "onnx",
    "obstore": "s3",
    "skimage": "demo",
    "matplotlib": "demo",
    "xarray": "xarray",
    "tifffile": "tiff",
    "imagecodecs": "tiff",
    "h5py": "hdf5",
    "nibabel": "nifti",
    "pylibCZIrw": "czi",
}


def is_available(package: str) -> bool:
    """Whether an optional package could be imported, without importing it."""
    return find_spec(package) is not None


def load_extra(module: str, purpose: str) -> Any:
    """Import an optional module.

    Raises
    ------
    ImportError
        If it is missing; the message names the extra to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{purpose} needs {package}, which could not be imported ({error}); install it with "
            f"pip install 'daskpatch[{_EXTRAS[package]}]'."
        ) from error
