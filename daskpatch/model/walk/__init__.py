"""A walk through a function or object and everything that it uses, giving what it is made of.

A file for each kind of value; `dispatch.py` says which is looked at by which.
"""

from __future__ import annotations

from .dispatch import contents_of, contents_of_settings, held_by

__all__ = ["contents_of", "contents_of_settings", "held_by"]
