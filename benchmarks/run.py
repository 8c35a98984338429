"""All benchmarks: `python benchmarks/run.py [--smoke] [--only NAME …]`.

Prints a table per benchmark and writes `results.json` and `results.md` beside this file (not
for a smoke run, which only shows that everything still works).
"""

from __future__ import annotations

import argparse
import inspect
import json
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from measuring import HERE, machine

NAMES = (
    "planning_cost",
    "importing",
    "tasks",
    "io_bound",
    "compute_bound",
    "choosing",
    "probing_cost",
    "blending",
    "normalising",
    "pyramids",
    "plates",
    "skipping",
    "memory",
    "many_blocks",
    "processes",
    "resuming",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small sizes, one round, no results")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--folder", type=Path, help="where volumes are kept between runs")
    arguments = parser.parse_args()
    results = _earlier()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.only:
            module = import_module(name)
            given = {"smoke": arguments.smoke, "folder": folder}
            wanted = inspect.signature(module.run).parameters
            rows = module.run(**{key: given[key] for key in wanted})
            results[name] = {"what": inspect.getdoc(module), "rows": rows, "machine": machine()}
            print(as_markdown(name, results[name]), flush=True)
            if not arguments.smoke:
                _write(results)


def as_markdown(name: str, result: dict[str, Any]) -> str:
    """A heading, what it is, a table, and the machine."""
    rows = result["rows"]
    lines = [f"## {name}", "", result["what"], ""]
    lines += ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(map(_shown, row.values())) + " |" for row in rows]
    facts = ", ".join(f"{key} {value}" for key, value in result["machine"].items() if value)
    return "\n".join([*lines, "", f"On: {facts}.", ""])


def _shown(value: Any) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else (f"{value:.0f}" if isinstance(value, float) else str(value))
    )


def _earlier() -> dict[str, Any]:
    path = HERE / "results.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _write(results: dict[str, Any]) -> None:
    (HERE / "results.json").write_text(json.dumps(results, indent=1, default=float) + "\n")
    tables = [as_markdown(name, results[name]) for name in NAMES if name in results]
    (HERE / "results.md").write_text("# Benchmark results\n\n" + "\n".join(tables))


if __name__ == "__main__":
    main()
