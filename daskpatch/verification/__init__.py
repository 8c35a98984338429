"""What became of an output: status, verification, repair."""

from .checking import Verification, verify
from .overview import Status, status

__all__ = ["Status", "Verification", "status", "verify"]
