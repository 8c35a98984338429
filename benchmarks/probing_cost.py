"""What a probe of a small U-Net costs: 2-D of depth 3, 3-D of depth 2; speeds of tiles included."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from measuring import HERE, seconds

import daskpatch

sys.path.insert(0, str(HERE.parent / "tests" / "models"))
from test_probing_networks import UNet


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:  # noqa: ARG001 (as the others)
    rows = []
    for ndim, depth in ((2, 3), (3, 2)):
        torch.manual_seed(0)
        network = UNet(depth, ndim, width=4 if smoke else 16).eval()
        budget = 1 if smoke else 20
        alone = seconds(lambda n=network, d=ndim: daskpatch.probe(n, ndim=d, seconds=0))
        whole = seconds(lambda n=network, d=ndim, b=budget: daskpatch.probe(n, ndim=d, seconds=b))
        rows.append(
            {
                "network": f"{ndim}-D, depth {depth}, 16 features",
                "parameters": sum(p.numel() for p in network.parameters()),
                "halo and grid s": alone,
                "with speeds s": whole,
            }
        )
    return rows
