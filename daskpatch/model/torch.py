"""PyTorch modules."""

from __future__ import annotations

import copy
import os
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..support import cause_of, failure_told, load_extra, redacted, said_by, shown, what_is
from .archive import checked_archive
from .contents import WHOLE, Contents, Look, contents_of_files
from .files import digest_of_file
from .handles import Batch, ExclusiveModel, fields_of, is_beyond_numpy
from .walk import contents_of


@dataclass(frozen=True)
class TorchModel:
    """A `torch.nn.Module`, in evaluation mode and without gradients.

    Parameters
    ----------
    module_or_path
        A module, or the path of a TorchScript archive (`torch.jit.save`) or of an exported
        program (`torch.export.save`, `.pt2`). Pickled modules run code when they are loaded
        and are refused: name the module in a Python file instead, `file.py:attribute`.
    device
        `"auto"` takes CUDA, then MPS, then the CPU, where the model is used; or any name that
        torch knows.
    autocast
        None, or the dtype of automatic mixed precision: `"float16"` or `"bfloat16"`. The
        result is float32 then.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If it is neither a module nor a path.
    """

    module_or_path: Any
    device: str = "auto"
    autocast: str | None = None

    def __post_init__(self) -> None:
        is_name = isinstance(self.autocast, str) and self.autocast in ("float16", "bfloat16")
        if not is_name and self.autocast is not None:
            raise ValueError(
                f"autocast is {shown(self.autocast)}; needed is None, 'float16' or 'bfloat16'."
            )
        if isinstance(self.module_or_path, str | os.PathLike):
            path = Path(self.module_or_path).expanduser().absolute()
            if not os.path.isfile(path):  # of a name that is too long, too
                raise FileNotFoundError(
                    f"No file {redacted(str(path)):.300} to load the model from."
                )
            object.__setattr__(self, "module_or_path", path)
        elif not hasattr(self.module_or_path, "state_dict"):
            raise TypeError(
                f"{what_is(self.module_or_path)} is neither a torch.nn.Module nor the path of one."
            )

    @property
    def name(self) -> str:
        if isinstance(self.module_or_path, Path):
            return f"TorchModel({str(self.module_or_path)!r})"
        kind = type(self.module_or_path)
        return f"TorchModel({kind.__module__}.{kind.__qualname__})"

    @property
    def file(self) -> Path | None:
        return self.module_or_path if isinstance(self.module_or_path, Path) else None

    def nbytes(self) -> int:
        if isinstance(self.module_or_path, Path):
            return self.module_or_path.stat().st_size
        return sum(map(_nbytes, self.module_or_path.state_dict().values()))

    def contents(self, look: Look = WHOLE) -> Contents:
        model, settings = self.module_or_path, {"autocast": self.autocast}
        if isinstance(model, Path):
            digests = {"file": digest_of_file(model)} if look.weights else {}
            return contents_of_files(digests, settings=settings, package="torch")
        return contents_of_files(settings=settings) + contents_of(model, look)

    def load(self) -> Callable[[Batch], Any]:
        torch = load_extra("torch", "TorchModel")
        device = _resolve(torch, self.device, self.module_or_path)
        module = _on_device(_open(torch, self.module_or_path), device)
        call = _TorchCall(torch, module, device, self.autocast, getattr(module, _BATCH, None))
        return call if device.type == "cpu" else ExclusiveModel(call)

    def __getstate__(self) -> dict[str, Any]:
        """The module travels on the CPU: the receiver may have other devices."""
        state = dict(self.__dict__)
        module = self.module_or_path
        if not isinstance(module, Path):
            _check_travels(module)
        if not isinstance(module, Path) and any(
            getattr(getattr(state, "device", None), "type", "cpu") != "cpu"
            for state in module.state_dict().values()
        ):
            state["module_or_path"] = _copied(module).cpu()
        return state


_BATCH = "daskpatch_fixed_batch"
"""The attribute of a loaded program that says how many tiles it takes."""

_AXES = "daskpatch_spatial_axes"
"""And the one that says how many spatial axes they have."""


class _TorchCall:
    def __init__(
        self, torch: Any, module: Any, device: Any, autocast: str | None, fixed_batch: int | None
    ) -> None:
        self._torch, self._module, self._device = torch, module, device
        self.fixed_batch = fixed_batch
        self.spatial_axes = _spatial_axes(module)
        self._autocast = getattr(torch, autocast) if autocast else None

    def __call__(self, batch: Batch) -> Any:
        torch = self._torch
        with (
            torch.inference_mode(),
            torch.autocast(
                self._device.type, dtype=self._autocast, enabled=self._autocast is not None
            ),
        ):
            result = self._module(torch.from_numpy(batch).to(self._device))
        if isinstance(result, Mapping):
            return {name: self._as_array(value) for name, value in result.items()}
        if isinstance(result, tuple | list):
            arrays = list(map(self._as_array, result))
            fields = fields_of(type(result))
            return dict(zip(fields, arrays, strict=True)) if fields else tuple(arrays)
        return self._as_array(result)

    def _as_array(self, tensor: Any) -> Any:
        torch = self._torch
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(
                f"the module gives a {type(tensor).__name__}; needed is a tensor, or a tuple or "
                "dict of tensors"
            )
        if self._autocast is not None or is_beyond_numpy(tensor):
            tensor = tensor.float()
        return tensor.cpu().numpy()


def _resolve(torch: Any, name: str, module: Any) -> Any:
    """The device of a name; for `"auto"` the GPU where a module is, or else the first there is."""
    if name != "auto":
        return _named_device(torch, name)
    if not isinstance(module, Path):
        for tensor in module.state_dict().values():
            if getattr(tensor, "is_cuda", False):
                return tensor.device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _named_device(torch: Any, name: str) -> Any:
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device is {shown(name)}; needed is 'auto', 'cpu', 'cuda', 'cuda:1', 'mps', or "
            "another device that torch knows."
        ) from error
    try:
        torch.empty(0, device=device)
    except Exception as error:  # each device's library raises its own
        said = said_by(error).partition(". ")[0]
        raise ValueError(
            f"device is {shown(name)}, which torch cannot use here: {said}. Give device='auto', "
            "which takes what there is, or 'cpu'."
        ) from error
    return device


def _open(torch: Any, module_or_path: Any) -> Any:
    if not isinstance(module_or_path, Path):
        return module_or_path
    if module_or_path.suffix == ".pt2":
        with checked_archive(torch, module_or_path) as file:
            program, module = _loaded(torch, file, module_or_path)
        shape = _shape_of(program)
        setattr(module, _BATCH, shape[0] if shape and type(shape[0]) is int else None)
        setattr(module, _AXES, len(shape) - 2 if shape else None)
        return module
    if _holds_program(module_or_path):
        raise ValueError(
            f"{module_or_path} holds an exported program: give it a name that ends in .pt2."
        )
    try:
        return torch.jit.load(module_or_path, map_location="cpu")
    except RuntimeError as error:
        raise ValueError(
            f"{module_or_path} is no TorchScript archive. Of weights (a state dict) make the "
            "network in a Python file, load_state_dict(torch.load(path, weights_only=True)) there, "
            "and name it: file.py:attribute. Or save the whole network, with torch.export.save or "
            "torch.jit.script(module).save (pickled modules would run code when loaded)."
        ) from error


def _loaded(torch: Any, file: Any, path: Path) -> tuple[Any, Any]:
    """An exported program and its module, from an archive that was looked at."""
    try:
        program = torch.export.load(file)
        return program, program.module()
    except Exception as error:  # noqa: BLE001 (each part of it is read by code of its own)
        what = f"{path} could not be loaded"
        advice = "It is damaged, or of another version of torch: export the network again."
        raise ValueError(failure_told(what, error, advice)) from cause_of(error)


def _holds_program(path: Path) -> bool:
    """Whether a file is what torch.export.save writes, whatever its name."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.rpartition("/")[2] == "archive_format" for name in archive.namelist())


def _nbytes(state: object) -> int:
    """Bytes of an entry of a module's state: a tensor, what packs some, or anything else."""
    if isinstance(state, Mapping):
        return sum(map(_nbytes, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(_nbytes, state))
    size = getattr(state, "nbytes", 0)
    return size if isinstance(size, int) else 0


def _spatial_axes(module: Any) -> int | None:
    """Two for a network of `Conv2d` and the like, three of `Conv3d`; None of both, or neither.

    Of a loaded program, what it says.
    """
    if hasattr(module, _AXES):
        told: int | None = getattr(module, _AXES)
        return told
    kinds = (type(part).__name__ for part in module.modules())
    found = {int(kind[-2]) for kind in kinds if kind.endswith(("2d", "3d"))}
    return found.pop() if len(found) == 1 else None


def _shape_of(program: Any) -> tuple[Any, ...]:
    """What an exported program takes: a symbol along each axis that may have any size."""
    inputs = program.graph_signature.user_inputs
    shapes = [n.meta["val"].shape for n in program.graph.nodes if n.name in inputs[:1]]
    return tuple(shapes[0]) if shapes else ()


def _on_device(module: Any, device: Any) -> Any:
    """The module in evaluation mode on the device; the user's own module stays as it was."""
    if type(module).__module__.startswith("torch.fx"):  # an exported program refuses eval()
        return module.to(device)
    tensors = list(module.parameters()) + list(module.buffers())
    if any(t.device.type == "meta" for t in tensors):
        raise ValueError(
            "The module has no weights: they are on the device 'meta'. Load them, "
            "module.load_state_dict(…, assign=True), or make the module without it."
        )
    moves = any(
        t.device.type != device.type or device.index not in (None, t.device.index) for t in tensors
    )
    if moves or any(getattr(part, "training", False) for part in module.modules()):
        # The user may go on training theirs.
        module = _copied(module).eval().to(device)
    return module


def _copied(module: Any) -> Any:
    """A module of its own; what it holds may be of kinds that have no copies."""
    try:
        copied = copy.deepcopy(module)
    except Exception as error:  # copying runs code of any class
        needed = "needed is one that can, to be put into evaluation mode on its device"
        raise ValueError(
            f"The module {type(module).__name__} cannot be copied ({type(error).__name__}: "
            f"{said_by(error)}); {needed}. Make what it holds when it is used, or pass "
            "module.eval(), on that device."
        ) from error
    lost = _lost(module, copied)
    if lost:
        raise ValueError(
            f"The module {type(module).__name__} loses {lost} when it is copied, to be put into "
            "evaluation mode on its device, as compiled and traced modules do. Pass module.eval(), "
            "on that device, or set it on the module inside."
        )
    return copied


_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
"""Where torch keeps what was registered with a module."""


def _lost(module: Any, copied: Any) -> str:
    """What was set on a module, or a part of it, that a copy has not; empty where it has all."""
    both = zip(module.named_modules(), copied.named_modules(), strict=False)
    for (name, part), (_, other) in both:
        lost = _lost_of(part, other)
        if lost:
            return f"{lost} of {name}" if name else lost
    return ""


def _lost_of(part: Any, other: Any) -> str:
    if any(len(getattr(part, hooks)) != len(getattr(other, hooks)) for hooks in _HOOKS):
        return "the hooks"
    return "" if _own_forward(part) == _own_forward(other) else "the forward that was set"


def _check_travels(module: Any) -> None:
    """Refuse to send a module of which less would arrive.

    Raises
    ------
    ValueError
        If hooks, or a `forward`, that were set on a part of it would be lost.
    """
    for name, part in module.named_modules():
        if _own_forward(part) or any(getattr(part, hooks) for hooks in _HOOKS):
            with suppress(TypeError, RuntimeError):  # what cannot be sent says so by itself
                lost = _lost_of(part, copy.copy(part))
                if lost:
                    raise ValueError(
                        f"The module {type(part).__name__} {name}".rstrip() + f" loses {lost} when "
                        "it is sent to workers, as compiled modules do. Set it on the module "
                        "inside."
                    )


def _own_forward(part: Any) -> object:
    """The code of a `forward` that was set on a module itself."""
    return getattr(vars(part).get("forward"), "__code__", None)
