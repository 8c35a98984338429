"""What to change when a model fails: the option behind an error of torch's or onnxruntime's own.

The patterns are of texts of torch 2.4 to 2.13 and onnxruntime 1.20 to 1.30; what none knows gets
no advice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ..support import text_of

Shape = tuple[int, ...]

_DTYPES: Mapping[str, str] = {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "unsigned char": "uint8",
    "int": "int32",
    "long": "int64",
    "long int": "int64",
}
"""What C++ and torch call them; those that are missing have NumPy's names."""


_ROUNDED = 3

_OF_TENSORS = "to|cuda|cpu|dim|unsqueeze|permute|contiguous|float|device|detach|numel|requires_grad"
"""Attributes that tensors have, and NumPy arrays have not."""

_MOST_CHANNELS = 4
"""Along an axis: no patch is as small."""


def advice_for(error: BaseException, shape: Shape = (), dtype: str = "") -> str:
    """A sentence on what to change, for a model that was given `(N, C, (Z), Y, X)`; or nothing.

    An error that speaks of another shape or dtype than was given is of some layer inside.

    >>> error = RuntimeError("Input type (float) and bias type (c10::Half) should be the same")
    >>> advice_for(error, (1, 1, 8, 8), "float32")
    'The network takes float16: give input_dtype="float16".'
    """
    text = text_of(error)
    for pattern, advise in _ADVICE:
        found = pattern.search(text)
        if found is not None:
            return advise(found, shape) if _is_of_input(found, shape, dtype) else ""
    return ""


def is_for_all_sizes(error: BaseException, shape: Shape, dtype: str) -> bool:
    """Whether a model fails for what it is given whatever the size: axes, channels, dtype, device.

    >>> is_for_all_sizes(RuntimeError("Found no NVIDIA driver: no NVIDIA driver"), (1, 1, 8), "")
    True
    """
    text = text_of(error)
    for pattern, advise in _ADVICE:
        found = pattern.search(text)
        if found is not None:
            about_size = advise in (_of_graph_size, _of_strides, _of_small, _of_linear)
            return (
                not about_size and _is_of_input(found, shape, dtype) and bool(advise(found, shape))
            )
    return False


def _is_of_input(found: re.Match[str], shape: Shape, dtype: str) -> bool:
    """Whether what an error says was given to a layer is what was given to the model."""
    said = found.groupdict()
    if said.get("size") is not None:
        return tuple(map(int, re.findall(r"\d+", said["size"]))) == shape
    if said.get("channels") is not None:
        return int(said["channels"]) in shape[:2]  # of the first, where the batch is missed
    if said.get("axes") is not None:
        return int(said["axes"]) == len(shape)
    return said.get("kind") is None or _as_numpys(said["kind"]) == dtype


def _as_numpys(name: str) -> str:
    """A dtype's name, of torch or C++, as NumPy has it."""
    plain = name.lower().removeprefix("c10::")
    return _DTYPES.get(plain, plain)


def _of_rank(found: re.Match[str], shape: Shape) -> str:
    return _rank(int(found["needed"]), shape)


def advice_on_axes(needed: int, given: int) -> str:
    """A sentence on what to give a network of so many spatial axes, which was to have others."""
    return _rank(needed + 2, (0,) * (given + 2))


def _rank(needed: int, shape: Shape) -> str:
    if needed == len(shape):
        return ""
    if needed == 4:
        return (
            "The network is 2-D: give patch_size as two numbers (YX), such as (64, 64), and it "
            "predicts slice by slice."
        )
    if needed == 5:
        return (
            "The network is 3-D: give patch_size as three numbers (ZYX), such as (16, 64, 64), of "
            "an image that has Z."
        )
    return f"It takes arrays of {needed} axes; batches are (N, C, (Z), Y, X)."


def _of_padding(found: re.Match[str], shape: Shape) -> str:
    return _rank(int(found["padding"]) // 2 + 2, shape)


def _of_3d_weights(found: re.Match[str], shape: Shape) -> str:
    # Of four axes torch takes the first for the channels, and misses the batch.
    is_flat = len(shape) == 4
    return _rank(5, shape) if is_flat else _of_channels(found, shape)


def _of_channels(found: re.Match[str], shape: Shape) -> str:
    needed, given = int(found["needed"]), shape[1]
    if needed < given:
        chosen = f"channels={list(range(needed))}"
        return f"The network takes {needed} of the {given} channels: choose, such as {chosen}."
    if needed > given:
        return (
            f"The network takes {needed} channels, and is given {given}: give axes= that hold C, "
            "other channels=, or a function that makes them of these and calls the network."
        )
    return ""


def _of_groups(found: re.Match[str], shape: Shape) -> str:
    return (
        f"The network takes a multiple of {found['groups']} channels, and is given {shape[1]}: "
        "give axes= that hold C, or other channels=."
    )


def _of_dtype(found: re.Match[str], shape: Shape) -> str:  # noqa: ARG001 (one signature for all)
    dtype = _as_numpys(found["needed"])
    if dtype == "bfloat16":
        return "The network takes bfloat16, which NumPy has not: give model.float()."
    if dtype == "string":
        return "The network takes texts, not voxels: give one that takes arrays of numbers."
    return f'The network takes {dtype}: give input_dtype="{dtype}".'


def _of_parameters(found: re.Match[str], shape: Shape) -> str:  # noqa: ARG001 (one signature)
    return (
        "The network's parameters have another dtype: give input_dtype= as they have it, such as "
        '"float16" or "float64", or network.float().'
    )


def _of_device(found: re.Match[str], shape: Shape) -> str:  # noqa: ARG001 (one signature for all)
    return (
        "There is no such device here: load and call the network on the CPU (device='cpu', "
        "map_location='cpu'). A torch module is moved to the GPU where there is one; "
        "TorchModel(module, device=…) names another."
    )


def _of_graph_size(found: re.Match[str], shape: Shape) -> str:
    index, needed = int(found["index"]), int(found["needed"])
    if index == 1:
        return _of_channels(found, shape)
    if index == len(shape) - 1 and needed <= _MOST_CHANNELS:
        return (
            f"The graph takes {needed} along its last axis, as if channels came last; they must "
            "come second: export it so, or give a function that moves them, calls the graph, and "
            "moves them back."
        )
    return f"The graph takes {needed} along axis {index} only: give its own size as patch_size."


def _of_strides(found: re.Match[str], shape: Shape) -> str:  # noqa: ARG001 (one signature for all)
    # What poolings round down is a voxel or a few; sizes further apart differ for other reasons.
    if abs(int(found["one"]) - int(found["other"])) > _ROUNDED:
        return ""
    return (
        "The network does not take tiles of every size: give patch_size and align as multiples "
        "of its total stride (8, for three poolings by 2)."
    )


def _of_small(found: re.Match[str], shape: Shape) -> str:  # noqa: ARG001 (one signature for all)
    return "Tiles are too small for the network: give a larger patch_size."


def _of_linear(found: re.Match[str], shape: Shape) -> str:  # noqa: ARG001 (one signature for all)
    return (
        "A linear layer takes vectors of one length, and batches are (N, C, (Z), Y, X): behind "
        "Flatten it fits tiles of one size, which is to be patch_size; else the network takes no "
        "images, or channels that come last."
    )


def _of_tensors(found: re.Match[str], shape: Shape) -> str:  # noqa: ARG001 (one signature for all)
    return (
        "It takes tensors, and is given NumPy arrays: give a torch.nn.Module, or a function that "
        "calls torch.from_numpy(batch) first."
    )


_ADVICE: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Shape], str]], ...] = tuple(
    (re.compile(pattern, re.DOTALL), advise)
    for pattern, advise in (
        (r"expected (?:\dD or )?(?P<needed>\d)D input \(got (?P<axes>\d)D input\)", _of_rank),
        (r"Padding size (?P<padding>\d) is not supported for (?P<axes>\d)D input", _of_padding),
        (r"Got (?P<axes>\d)D input, but \w+ mode needs (?P<needed>\d)D input", _of_rank),
        (r"or (?P<needed>\d)D \(batched\) input to .*size: (?P<size>\[[\d, ]+\])", _of_rank),
        (r"or (?P<needed>\d)D \(batch mode\) tensor expected", _of_rank),
        (
            r"Expected (?P<needed>\d)-dimensional input for .* got (?P<axes>\d)-dimensional input",
            _of_rank,
        ),
        (r"Invalid rank for input: .* Got: (?P<axes>\d+) Expected: (?P<needed>\d+)", _of_rank),
        (
            r"weight of size \[\d+(?:, \d+){4}\],.* to have (?P<needed>\d+) channels, but got "
            r"(?P<channels>\d+)",
            _of_3d_weights,
        ),
        (r"input(?P<size>\[[\d, ]+\]) to have (?P<needed>\d+) channels", _of_channels),
        (r"should contain (?P<channels>\d+) elements not (?P<needed>\d+)", _of_channels),
        (
            r"Input channels C is not equal .* C: (?P<channels>\d+) .*channels: (?P<needed>\d+)",
            _of_channels,
        ),
        (
            r"divisible by num_groups, but got input of shape (?P<size>\[[\d, ]+\]) and "
            r"num_groups=(?P<groups>\d+)",
            _of_groups,
        ),
        (
            r"vector of size equal to the number of channels in input, but got weight of shape "
            r"\[(?P<needed>\d+)\] and input of shape (?P<size>\[[\d, ]+\])",
            _of_channels,
        ),
        (
            r"parameter numbers = (?P<needed>\d+) and channel size = (?P<channels>\d+)",
            _of_channels,
        ),
        (r"Guard failed: \w+\.size\(\)\[(?P<index>\d)\] == (?P<needed>\d+)", _of_graph_size),
        (r"index: (?P<index>\d+) Got: \d+ Expected: (?P<needed>\d+)", _of_graph_size),
        (
            r"Input type \((?P<kind>[^)]+)\) and (?:bias|weight) type \((?P<needed>[^)]+)\)",
            _of_dtype,
        ),
        (r"the same dtype, but got (?P<kind>\w+) and (?P<needed>\w+)", _of_dtype),
        (r"expected scalar type (?P<kind>\w+) but found (?P<needed>\w+)", _of_dtype),
        (r"expected: \(tensor\((?P<needed>\w+)\)\)", _of_dtype),
        (r"following scalar types: (?P<needed>\w+)", _of_dtype),
        (r"not compiled with CUDA|No CUDA GPUs|no NVIDIA driver|CUDA is not available", _of_device),
        (r"Expected size (?P<one>\d+) but got size (?P<other>\d+)", _of_strides),
        (
            r"size of tensor a \((?P<one>\d+)\) must match the size of tensor b \((?P<other>\d+)\)",
            _of_strides,
        ),
        (r"Kernel size can't be greater|Output size is too small", _of_small),
        (r"Padding size should be less than the corresponding input dimension", _of_small),
        (r"mat1 and mat2 shapes cannot be multiplied", _of_linear),
        (r"mixed dtype \(CPU\): expect parameter to have scalar type of \w+", _of_parameters),
        (r"must be Tensor, not numpy\.ndarray", _of_tensors),
        (r"invalid combination of arguments - got \((?:\w+=?,? ?)*numpy\.ndarray", _of_tensors),
        (rf"'numpy\.ndarray' object has no attribute '(?:{_OF_TENSORS})'", _of_tensors),
        (r"Expected more than 1 (?:spatial element|value per channel) when training", _of_small),
    )
)
