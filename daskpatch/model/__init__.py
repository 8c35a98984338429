"""Models: what they are, what they say of themselves, how they are loaded and called."""

from .adaptation import ModelLike, shared_model
from .advice import advice_for, advice_on_axes, is_for_all_sizes
from .augmentation import Position, as_augment, positions
from .contents import Contents, Look, NoIdentityError, Parts
from .errors import ModelError, describe_tile
from .exhaustion import is_out_of_memory, release_memory
from .former import former_identity
from .handles import Batch, CallableModel, LoadedModel, ModelHandle, Results, SharedModel, load
from .importing import import_attribute, split_name
from .installed import is_installed, is_library_code, module_of
from .model import Model, ModelWords
from .onnx import OnnxModel
from .signature import OutputArray, Signature, Sizing
from .torch import TorchModel
from .torch_threads import restore_threads, restrained, single_threaded
