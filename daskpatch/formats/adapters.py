"""Which adapter opens a file, loaded when it is used."""

from __future__ import annotations

from importlib import import_module

from ..support import cause_of, said_by
from .array_choice import ArrayChoice
from .reader import Reader

_ADAPTERS = {
    "tiff": (".tiff", "TiffReader"),
    "hdf5": (".hdf5", "opened_hdf5"),
    "nifti": (".nifti", "NiftiReader"),
    "czi": (".czi", "CziReader"),
}
"""By the reader that `Format` names: a module here, and what opens a file in it."""


def opened(path: str, reader: str, choice: ArrayChoice) -> Reader:
    """An array in a file, open.

    Raises
    ------
    ImportError
        If the package that reads it is missing; the extra to install is named.
    ValueError
        If there is no such array, or the file is none of the format that it is named like.
    OSError
        If it cannot be read.
    """
    module, name = _ADAPTERS[reader]
    open_it = getattr(import_module(module, __package__), name)
    try:
        found: Reader = open_it(path, choice)
    except (ImportError, ValueError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 (each library raises its own of a broken file)
        raise ValueError(
            f"{path} cannot be read: {type(error).__name__}: {said_by(error)}; is it torn?"
        ) from cause_of(error)
    return found
