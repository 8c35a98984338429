"""The command line: a thin shell over the public verbs."""

from .commands import main
