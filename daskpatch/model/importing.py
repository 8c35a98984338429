"""Objects named as `package.module:attribute` or `file.py:attribute`."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from ..support import all_said_by, cause_of, redacted, shown, text_of
from .advice import advice_for
from .files import check_neighbours

_RELATIVE = (
    "It imports relatively, as a module of a package does: name it as one, package.module:attribute"
)

_WEIGHTS = (".ckpt", ".safetensors", ".tar", ".h5", ".keras", ".npz", ".bin")


def split_name(name: str, what: str) -> tuple[str, str]:
    """The module (or absolute path of the file) and the attribute of a name.

    Raises
    ------
    ValueError
        If it is no such name.
    FileNotFoundError
        If the file does not exist.
    """
    module, _, attribute = name.rpartition(":")
    if not module or not attribute:
        example = f", such as '{name}:model'" if name.endswith(".py") and len(name) < 80 else ""
        if name.lower().endswith(_WEIGHTS):
            raise ValueError(
                f"{what} {shown(name)} is a file of weights, and no network; make the network in a "
                "Python file, load them there, and name it: file.py:attribute."
            )
        raise ValueError(
            f"{what} {shown(name)} names nothing that can be imported; needed is "
            f"'package.module:attribute' or 'file.py:attribute'{example} (or, for a model, a path "
            "that ends in .onnx, .pt or .pt2)."
        )
    if module.endswith(".py"):
        path = Path(module).expanduser().absolute()
        if not os.path.isfile(path):  # a name may be too long to be asked for
            raise FileNotFoundError(f"No file {redacted(str(path))} to load the {what} from.")
        module = str(path)
    return module, attribute


def import_attribute(module: str, attribute: str) -> Any:
    """The object; runs the module's code.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If there is no such module, or it has no such attribute; similar ones are named.
    """
    loaded = _run_file(module) if module.endswith(".py") else _import(module)
    value: Any = loaded
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ImportError(f"{module} has no {attribute}{_did_you_mean(part, value)}.")
        value = getattr(value, part)
    return value


def _did_you_mean(name: str, holder: object) -> str:
    public = [known for known in dir(holder) if not known.startswith("_")]
    similar = difflib.get_close_matches(name, public) or public[:5]
    return f"; it has {', '.join(similar)}" if similar else ""


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except SystemExit as error:
        raise _ended(name, error) from cause_of(error)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            raise ModuleNotFoundError(
                f"There is no module {shown(name)}; give package.module:attribute or "
                "file.py:attribute.",
                name=error.name,
            ) from cause_of(error)
        raise


def _ended(name: str, error: SystemExit) -> ImportError:
    """A script, which would end whoever loads it."""
    return ImportError(
        f"{name} called sys.exit({error.code!r}) while it was loaded, as scripts do; put what is "
        "to run when it is called as a program under if __name__ == '__main__':.",
        path=name,
    )


def _run_file(path: str) -> ModuleType:
    if not Path(path).is_file():
        raise FileNotFoundError(f"No file {path} on this machine.")
    # A name of its own, in sys.modules while it runs: dataclasses look themselves up there.
    name = f"daskpatch_file_{Path(path).stem}_{uuid4().hex}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # As for a script, the files beside it can be imported: last of all, so that they hide nothing.
    if str(Path(path).parent) not in sys.path:
        sys.path.append(str(Path(path).parent))
    check_neighbours(Path(path))
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        raise _ended(path, error) from cause_of(error)
    except Exception as error:  # noqa: BLE001 (the file's own code)
        advice = _RELATIVE if "relative import" in text_of(error) else advice_for(error)
        raise ImportError(
            f"{path} could not be loaded: {type(error).__name__}: {all_said_by(error)}"
            + (f". {advice}" if advice else ""),
            path=path,
        ) from cause_of(error)
    return module
