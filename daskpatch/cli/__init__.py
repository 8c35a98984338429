"""The command line: a thin shell over the public verbs."""

from .main import main

__all__ = ["main"]
