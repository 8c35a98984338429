"""Models: what they are, what they say of themselves, how they are loaded and called."""

from .adaptation import as_handle
from .errors import ModelError
from .exhaustion import is_out_of_memory, release_memory
from .handles import Batch, LoadedModel, ModelHandle, Results, SharedModel, load
from .identity import NoIdentityError
from .importing import import_attribute, split_name
from .onnx import OnnxModel
from .signature import Output, Signature
from .threads import restore_threads, single_threaded
from .torch import TorchModel

__all__ = [
    "Batch",
    "LoadedModel",
    "ModelError",
    "ModelHandle",
    "NoIdentityError",
    "OnnxModel",
    "Output",
    "Results",
    "SharedModel",
    "Signature",
    "TorchModel",
    "as_handle",
    "import_attribute",
    "is_out_of_memory",
    "load",
    "release_memory",
    "restore_threads",
    "single_threaded",
    "split_name",
]
