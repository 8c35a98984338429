"""What became of an output: status, verification, repair."""

from .overview import Status, status
from .readback import Verification, verify
