"""Peak memory against the plan's figure, for volumes of 1, 4 and 16 GiB."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from io_bound import plan
from measuring import PeakMemory, in_fresh_process
from volumes import microscopy

SHAPES = {
    "1 GiB": (512, 1024, 1024),
    "4 GiB": (512, 2048, 2048),
    "16 GiB": (2048, 2048, 2048),
}
SMOKE = {"16 MiB": (128, 256, 256), "32 MiB": (256, 256, 256)}


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    rows = []
    for name, shape in (SMOKE if smoke else SHAPES).items():
        source = folder / f"memory-{shape[0]}-{shape[1]}.zarr"
        microscopy(source, shape)
        row: dict[str, Any] = {"input": name}
        for io in ("tensorstore", "zarr"):
            facts = in_fresh_process("memory", source, folder / "out.zarr", io)
            row |= {
                f"{io} peak MB": facts["peak"] / 1e6,
                f"{io} plan MB": facts["plan"] / 1e6,
                f"{io} plan / peak": facts["plan"] / facts["peak"],
            }
        rows.append(row)
        shutil.rmtree(folder / "out.zarr", ignore_errors=True)
        if name == "16 GiB":
            shutil.rmtree(source)
    return rows


def main(source: str, output: str, io: str) -> None:
    with PeakMemory() as memory:
        planned = plan(Path(source), Path(output), io)
        planned.run(progress=False)
    print(json.dumps({"peak": memory.peak, "plan": planned.peak_memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
