"""What modules and tensors of torch are made of."""

from __future__ import annotations

import hashlib
from typing import Any

from .functions import is_own
from .torch_script import look_at_script_module, names_in_script
from .walk import Walk

_COMPILED = "OptimizedModule"
"""The class of what torch.compile makes of a module."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")

_HOOK_FLAGS = ("_with_kwargs", "_always_called")
"""Tables of torch's that say how hooks are called, by what the names of theirs end in."""


def look_at_torch_module(walk: Walk, module: Any, path: str) -> None:
    import torch

    if type(module).__name__ == _COMPILED:
        module = module._orig_mod
    of_every_module = set(vars(torch.nn.Module()))
    first: dict[int, str] = {}
    scripted = [each for each in module.modules() if isinstance(each, torch.jit.ScriptModule)]
    # One may use an attribute of another: `self.inner.gain`.
    named = {name for each in scripted for name in names_in_script(each)}
    for name, inner in module.named_modules(remove_duplicate=False):
        here = f"{path}.{name}" if name else path
        if id(inner) in first:
            walk.add("attributes", here, "", f"as {first[id(inner)]}")
            continue
        first[id(inner)] = here
        if isinstance(inner, torch.jit.ScriptModule):
            look_at_script_module(walk, inner, here, named)
            continue
        if type(inner).__name__ == _COMPILED:  # what it compiles is its only submodule
            walk.add_library("torch", _COMPILED, here)
            continue
        if isinstance(inner, torch.fx.GraphModule):
            walk.add_library("torch", "GraphModule", here)
            walk.add_code(here, "", inner.code, inner.code)
            # The code names what is of torch or Python; the user's own functions are looked at.
            called = [node.target for node in inner.graph.nodes if callable(node.target)]
            walk.visit([each for each in called if is_own(each)], f"{here}.graph", "")
        else:
            walk.visit(type(inner), f"{here}.__class__", "")
        own = {*vars(inner)} - of_every_module
        for key in sorted(own - {"_graph", "_code", "_graphmodule_cls_name"}):
            walk.hold(vars(inner)[key], f"{here}.{key}")
        for key in _HOOKS:
            # In order: their keys are counted through the whole process.
            hooks = vars(inner)[key]
            walk.visit([*hooks.values()], f"{here}.{key}", "")
            flags = [vars(inner).get(f"{key}{flag}", {}) for flag in _HOOK_FLAGS]
            told = [[each in hooked for each in hooks] for hooked in flags]
            if any(map(any, told)):
                walk.visit(told, f"{here}.{key}.flags", "")
    _tensors_of(walk, module, path)


def _tensors_of(walk: Walk, module: Any, path: str) -> None:
    # A call may change buffers: a counter, a table that grows.
    named = [(name, t, True) for name, t in module.named_buffers(remove_duplicate=False)]
    if walk.look.weights:
        named += [(n, t, False) for n, t in module.named_parameters(remove_duplicate=False)]
    for name, tensor, is_held in named:
        here = f"{path}.{name}"
        if is_held:
            walk.hold(tensor, here)
        else:
            walk.visit(tensor, here, "")


def look_at_tensor(walk: Walk, tensor: Any, path: str, holder: str) -> None:
    import torch

    if type(tensor) not in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer):
        walk.visit(type(tensor), f"{path}.__class__", "")
    walk.hold_all(tensor, path)
    told = f"{tensor.dtype} {tuple(tensor.shape)}"
    tensor = tensor.detach()
    if tensor.is_quantized:
        told += f" {tensor.q_scale()} {tensor.q_zero_point()}"
        tensor = tensor.int_repr()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    tensor = tensor.resolve_conj().resolve_neg().cpu().contiguous()
    if tensor.numel() == 1:  # whose stride counts for nothing, but is left as it was
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    # NumPy has no bfloat16: bytes serve for all dtypes.
    content = tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b""
    walk.add("weights", path, holder, f"{told} {hashlib.sha256(content).hexdigest()}")
