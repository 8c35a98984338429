"""What became of an output: status, verification, repair."""

from .checking import Verification, verify
from .overview import Status, status
