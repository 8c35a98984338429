"""What TorchScript is made of: its code as it prints it, and its constants."""

from __future__ import annotations

import re
from typing import Any

from ..contents import NoIdentityError
from .walk import Walk

_UNSEEN = "ConstantMKLDNNTensor"
"""What TorchScript says of constants that it does not show."""

_ATTRIBUTE = re.compile(r"\.(\w+)")
"""Names after a dot in TorchScript: attributes, among others."""

_QUALIFIED = re.compile(r"__torch__(\.\w+)*\.")
"""What comes before names of the user's own functions and classes in TorchScript: their module, and
a number that counts through the whole process."""

_PLACE = re.compile(r" # .*:\d+:\d+$", re.MULTILINE)
"""Where a line of a graph of TorchScript is from."""


def look_at_script_module(walk: Walk, module: Any, path: str, named: set[str]) -> None:
    """A traced or scripted module: its code as TorchScript prints it, and its constants.

    Its serialised bytes differ for one module traced twice. `named` are names of attributes in
    the code of modules around it.
    """
    import torch

    walk.add_library("torch", "ScriptModule", path)
    known, codes = set(dir(torch.nn.Module())), []
    for method in sorted(module._c._method_names()):
        # Of the compiled module: Python's face of a list of modules hides its own.
        compiled = module._c._get_method(method)
        code, constants = compiled.code_with_constants
        codes.append(_QUALIFIED.sub("", code))
        if _UNSEEN in code:
            raise NoIdentityError(f"{path}, whose weights torch.jit.optimize_for_inference hid")
        _refuse_python(compiled.inlined_graph, path)
        if codes[-1] == code and not compiled.graph.findAllNodes("prim::CallFunction"):
            walk.add_code(f"{path}.{method}", "", code, code)
        else:  # it calls what it does not show, and is laid out by the lengths of their names
            look_at_script_graph(walk, compiled.inlined_graph, f"{path}.{method}")
        mapping = getattr(constants, "const_mapping", constants)  # of a method, of a module
        walk.visit(dict(mapping), f"{path}.{method}.constants", "")
    own = {*_ATTRIBUTE.findall("".join(codes))}
    theirs = {name for name in named - own if module._c.hasattr(name)}
    for name in sorted((own | theirs) - known):
        held = getattr(module, name, None)
        is_told = isinstance(held, torch.nn.Module | torch.nn.Parameter | torch._C.ScriptMethod)
        if not is_told:
            walk.hold(held, f"{path}.{name}")


def look_at_script_graph(walk: Walk, graph: Any, path: str) -> None:
    """All that a scripted function does, with that of the functions and classes it uses."""
    _refuse_python(graph, path)
    told = _PLACE.sub("", _QUALIFIED.sub("", graph.str(False)))
    walk.add_code(path, "", told, told)
    constants = graph.findAllNodes("prim::Constant")
    has_tensor = [c.hasAttribute("value") and c.kindOf("value") == "t" for c in constants]
    tensors = [c.t("value") for c, has in zip(constants, has_tensor, strict=True) if has]
    walk.visit(tensors, f"{path}.tensors", "")


def _refuse_python(graph: Any, path: str) -> None:
    """TorchScript says that it calls Python, and not what that does."""
    if graph.findAllNodes("prim::PythonOp"):
        raise NoIdentityError(
            f"{path}, which calls Python that TorchScript does not hold (@torch.jit.ignore, or an "
            "autograd.Function that was traced)"
        )


def names_in_script(module: Any) -> set[str]:
    """Names after a dot in all that a scripted module does."""
    methods = (module._c._get_method(name) for name in module._c._method_names())
    return {name for method in methods for name in _ATTRIBUTE.findall(method.code)}
