"""ONNX graphs, through onnxruntime."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from ..support import all_said_by, load_extra, redacted, shown
from .contents import WHOLE, Contents, Look, contents_of_files
from .files import digest_of_file
from .handles import Batch, ExclusiveModel, distinct


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX graph with one image input; each of its outputs is a prediction.

    Runs on CUDA where onnxruntime has it, else on the CPU with one thread per call: blocks run
    side by side.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If it is no path.
    """

    path: str | os.PathLike[str]

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise TypeError(f"path is {shown(self.path)}; needed is that of an ONNX file.")
        path = Path(self.path).expanduser().absolute()
        if not os.path.isfile(path):  # of a name that is too long, too
            raise FileNotFoundError(f"No file {redacted(str(path)):.300} to load the model from.")
        object.__setattr__(self, "path", path)

    @property
    def name(self) -> str:
        return f"OnnxModel({str(self.path)!r})"

    @property
    def file(self) -> Path:
        return Path(self.path)

    def nbytes(self) -> int:
        return sum(file.stat().st_size for file in (self.file, *external_files(self.file)))

    def contents(self, look: Look = WHOLE) -> Contents:
        files = (self.file, *external_files(self.file)) if look.weights else ()
        # The graph's own name is the user's; the others' names are in it.
        digests = {str(number): digest_of_file(file) for number, file in enumerate(files)}
        return contents_of_files(digests, package="onnxruntime")

    def _check_weights(self, error: Exception) -> None:
        """Say which files with weights are missing, or lie where onnxruntime reads none."""
        folder = self.file.parent.resolve()
        names = [name for name in _external_names(self.file) if name]
        missing = [name for name in names if not os.path.isfile(folder / name)]
        outside = [name for name in names if _leads_out(folder, name)]
        for found, fix in (
            (outside, "outside of its folder, which onnxruntime refuses; save it anew with them"),
            (missing, "which is not there; copy it"),
        ):
            if found:
                told = ", ".join(f"{shown(name):.60}" for name in found[:_FEW])
                raise ValueError(
                    f"{self.path} keeps weights in {told}, {fix} beside the graph."
                ) from error

    def load(self) -> Callable[[Batch], Any]:
        onnxruntime = load_extra("onnxruntime", "OnnxModel")
        options = onnxruntime.SessionOptions()
        # Blocks run side by side: threads inside each call would only get in each other's way.
        options.intra_op_num_threads = 1
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        available = onnxruntime.get_available_providers()
        providers = [name for name in wanted if name in available]
        try:
            session = onnxruntime.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:  # onnxruntime's own kinds
            if "external" in str(error).lower():
                self._check_weights(error)
            raise ValueError(
                f"{self.path} is no ONNX graph that can be run: {all_said_by(error)}"
            ) from error
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"{self.path} has {len(inputs)} inputs; needed is one, the image.")
        count, spatial = inputs[0].shape[:1], inputs[0].shape[2:]
        call = _OnnxCall(
            session,
            inputs[0].name,
            [out.name for out in session.get_outputs()],
            tuple(spatial) if all(isinstance(n, int) for n in spatial) else None,
            count[0] if count and isinstance(count[0], int) and count[0] > 0 else None,
        )
        on_gpu = session.get_providers()[0] != "CPUExecutionProvider"
        return ExclusiveModel(call) if on_gpu else call


_FEW = 3
"""Files that a message names."""

_LOCATION = b"\x0a\x08location\x12"
"""How an entry of a tensor's `external_data` begins in protobuf: key (field 1) and value (2).

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, StringStringEntryProto
"""


def external_files(path: Path) -> list[Path]:
    """The files beside a graph in which it keeps weights, those that are there, in order."""
    return [path.parent / name for name in _external_names(path) if (path.parent / name).is_file()]


def _external_names(path: Path) -> list[str]:
    """What a graph calls the files in which it keeps weights, from its own folder, in order."""
    if not path.stat().st_size:
        return []
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        names = set()
        at = content.find(_LOCATION)
        while at >= 0:
            length, start = _varint(content, at + len(_LOCATION))
            names.add(content[start : start + length].decode("utf-8", "replace"))
            at = content.find(_LOCATION, start)
    return sorted(names)


def _leads_out(folder: Path, name: str) -> bool:
    try:
        return not (folder / name).resolve().is_relative_to(folder)
    except (OSError, ValueError):  # a name that no file can have
        return False


def _varint(content: mmap, at: int) -> tuple[int, int]:
    """A number in protobuf's base 128, lowest digits first, and where it ends."""
    value = shift = 0
    while at < len(content):
        byte = content[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            break
    return value, at


@dataclass(frozen=True)
class _OnnxCall:
    session: Any
    input_name: str
    output_names: list[str]
    fixed_size: tuple[int, ...] | None
    fixed_batch: int | None

    def __call__(self, batch: Batch) -> Any:
        results = self.session.run(self.output_names, {self.input_name: batch})
        return dict(zip(distinct(self.output_names, _tidy), results, strict=True))


def _tidy(name: str) -> str:
    """A name that an array may have, out of one of ONNX, such as `/decoder/out:0`."""
    return re.sub(r"[^\w.-]", "_", name).lstrip("_.-") or "output"
