"""Strategies and plans of 10^3 to 10^12 tiles: the cost must not grow."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import best_of

import daskpatch


class Virtual:
    """An array of any size that takes no memory."""

    dtype = np.dtype("uint16")

    def __init__(self, size: int) -> None:
        self.shape = (size,) * 3

    def __getitem__(self, key: tuple[slice, ...]) -> Any:
        return np.ones([s.stop - s.start for s in key], self.dtype)


def run(smoke: bool) -> list[dict[str, Any]]:
    rows = []
    for exponent in (3, 6, 9, 12):
        size = 64 * round(10 ** (exponent / 3))
        shapes = [(1, 1, size, size, size)]

        def build(shapes: Any = shapes) -> daskpatch.AlignedPatching:
            return daskpatch.AlignedPatching(shapes, 80, 16, align=8)

        strategy = build()
        planned = daskpatch.plan(Virtual(size), double, axes="ZYX", patch_size=80, overlaps=16)

        def replan(planned: Any = planned) -> daskpatch.Plan:
            return planned.to()

        number = 20 if smoke else 200
        rows.append(
            {
                "tiles": f"{strategy.n_patches:.0e}",
                "strategy_us": 1e6 * best_of(build, number=number),
                "strategy_bytes": allocated(build),
                "spec_us": 1e6
                * best_of(lambda s=strategy: s.get_patch_spec(s.n_patches // 2), number=1000),
                "plan_ms": 1e3 * best_of(replan, number=3),
                "array_ms": 1e3 * best_of(lambda r=replan: r().array, number=3)
                - 1e3 * best_of(replan, number=3),
                "blocks": f"{planned.n_blocks:.0e}",
            }
        )
    return rows


def double(batch: Any) -> Any:
    return batch * 2


def allocated(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    result = call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return peak
