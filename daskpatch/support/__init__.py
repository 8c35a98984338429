"""Small things that serve all rooms: optional packages, tables of facts, memory in use."""

from .extras import is_installed, load_extra
from .resident import peak_memory
from .tables import html_table, text_table

__all__ = ["html_table", "is_installed", "load_extra", "peak_memory", "text_table"]
