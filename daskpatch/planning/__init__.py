"""Plans: layout, memory, cost, output; decided before the first block is computed."""

from .plan import Plan

__all__ = ["Plan"]
