"""Optional packages: imported when they are used, and named by their extra when missing."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
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


@lru_cache(maxsize=256)
def installed_version(package: str) -> str:
    """The version of an installed package, whose metadata are read once.

    Raises
    ------
    PackageNotFoundError
        If it is not installed.
    """
    return version(package)


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
