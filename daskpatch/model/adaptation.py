"""From whatever the user calls a model to a handle."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..support import what_is, without_secrets
from .contents import WHOLE, Contents, Look, NoIdentityError, contents_of_files
from .files import check_loaded_alike, digest_of_module, origin_of_module, source_digests
from .handles import Batch, CallableModel, ModelHandle, SharedModel
from .importing import import_attribute, split_name
from .installed import is_installed_file
from .onnx import OnnxModel
from .torch import TorchModel
from .walk import contents_of_settings

ModelLike = Callable[[Batch], object] | ModelHandle | SharedModel | str | os.PathLike[str]
"""What is called: see `shared_model`."""


def shared_model(model: ModelLike, what: str = "model") -> SharedModel:
    """A model that is loaded once per process, or whatever else is called; `what`, for messages.

    Accepts a handle (`TorchModel`, `OnnxModel`), a `torch.nn.Module`, any callable,
    `"package.module:attribute"`, `"file.py:attribute"`, or the path of a file that holds a whole
    network: of ONNX (`.onnx`), TorchScript (`.pt`) or torch's export (`.pt2`).

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If a string names neither an attribute nor such a file.
    FileNotFoundError
        If it names a file that does not exist.
    """
    return model if isinstance(model, SharedModel) else SharedModel(_handle(model, what))


def _handle(model: ModelLike, what: str) -> ModelHandle:
    if isinstance(model, ModelHandle):
        return model
    if isinstance(model, str | os.PathLike):
        return _named(os.fspath(model), what)
    if _is_torch_module(model):
        return TorchModel(model)
    if inspect.isclass(model):
        raise TypeError(
            f"The {what} is the class {model.__name__}; give an instance of it, such as "
            f"{model.__name__}(…), or a function."
        )
    if callable(model):
        return CallableModel(model)
    if isinstance(model, Mapping):
        raise TypeError(
            f"The {what} is a {type(model).__name__}, like the state of a network (its weights). "
            "Make the network, load_state_dict(…) there, and give the network."
        )
    raise TypeError(
        f"The {what} is {what_is(model)}; needed is a callable, a torch.nn.Module, "
        "'package.module:attribute', 'file.py:attribute' or the path of an .onnx, .pt or .pt2 "
        "file."
    )


def _named(name: str, what: str) -> ModelHandle:
    if "://" in name:
        raise ValueError(
            f"The {what} {without_secrets(name)} is a URL; models are loaded from files of this "
            "machine: download it, and give its path."
        )
    if name.endswith(".onnx"):
        return OnnxModel(name)
    if name.endswith(_TORCH):
        return TorchModel(Path(name))
    return ImportedModel(*split_name(name, what), what)


def _is_torch_module(model: object) -> bool:
    """Whether it is a module, without importing torch: then nobody could have made one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


_TORCH = (".pt", ".pth", ".pt2", ".ts", ".torchscript")


@dataclass(frozen=True)
class ImportedModel:
    """`package.module:attribute` or `file.py:attribute`, imported where it is used."""

    module: str
    attribute: str
    what: str = "model"

    @property
    def name(self) -> str:
        return f"{self.module}:{self.attribute}"

    @property
    def file(self) -> Path | None:
        return Path(self.module) if self.module.endswith(".py") else None

    def load(self) -> Callable[[Batch], Any]:
        return self._imported().load()

    def _imported(self) -> ModelHandle:
        """What the name stands for in this process; runs the module's code."""
        value = import_attribute(self.module, self.attribute)
        if inspect.isclass(value):
            raise TypeError(
                f"{self.name} is a class; give a function or an instance, for example a line "
                f"model = {self.attribute}() in the module, and :model."
            )
        return shared_model(value, f"{self.what} {self.name}").handle

    def nbytes(self) -> int:
        return 0

    def contents(self, look: Look = WHOLE) -> Contents:
        settings = {"attribute": self.attribute}
        if self.file is not None:
            sources = source_digests(self.file)
            check_loaded_alike(sources)
            return contents_of_files(code=sources, settings=settings)
        file = origin_of_module(self.module)
        if file is None:
            raise NoIdentityError(f"the module {self.module} is in no file")
        if is_installed_file(file):
            return contents_of_files(settings=settings, package=self.module.partition(".")[0])
        if file.suffix != ".py":
            return contents_of_files(code={"": digest_of_module(file)}, settings=settings)
        imported = self._imported()
        sources = source_digests(file, self.module)
        check_loaded_alike({**sources, self.module: sources[""]})
        found = contents_of_files(code=sources, settings=settings)
        try:  # what was set in it since it was imported
            return found + imported.contents(look)
        except NoIdentityError:
            return found + contents_of_settings(sys.modules[self.module], file, look)
