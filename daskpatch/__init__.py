from .patching import *  # noqa
from .image import *
