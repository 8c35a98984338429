"""Draw the rooms of the package, and the imports between them: `draw_house.py SVG [--check]`.

Floors are the layers of the import-linter contract in pyproject.toml. With `--check` nothing is
drawn: it fails if the picture's floors or arrows are not today's (lines of code may be older).
"""

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterator, Set
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
from count import lines_by_room, room_of, sources
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path as Line

Floors = list[list[str]]  # the rooms of each floor, from the roof down
Arrows = list[tuple[str, str]]  # importing room, imported room

# Inches. Rooms descend like stairs, so that what is right of a room and above it is free for lines.
HEIGHT, LETTER, PAD, GAP, ROOF, LANE, CURVE = 0.34, 0.0753, 0.09, 0.12, 0.18, 0.07, 0.08
STYLE = {"font.family": "monospace", "svg.fonttype": "none", "svg.hashsalt": "house"}
INK, FAINT, LINE, WRONG = "#24292f", "#6e7781", "#8c9db5", "#cf222e"


def floors_of(project: Path, package: str) -> Floors:
    contracts = tomllib.loads(project.read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c.get("containers") == [package])
    return [[room.strip("() ") for room in layer.replace(":", "|").split("|")] for layer in layers]


def imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Give the room of each import and the name right below the package that it leads to."""
    for path, text in sources(folder).items():
        package = path.relative_to(folder.parent).parent.parts
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Import(names=names):
                    named = [(*each.name.split("."), "__init__") for each in names]
                case ast.ImportFrom(module=module, names=names, level=level):
                    base = package[: len(package) + 1 - level] if level else ()
                    base += tuple(module.split(".")) if module else ()
                    named = [(*base, each.name) for each in names]
                case _:
                    continue
            yield from ((room_of(path, folder), to[1]) for to in named if to[0] == folder.name)


def arrows_of(folder: Path, rooms: Set[str]) -> Arrows:
    """Give the imports between rooms; who imports from the package itself imports all its rooms."""
    found = set(imports(folder))
    public = {b for a, b in found if a == "__init__"}
    found |= {(a, b) for a, named in found if named not in rooms for b in public}
    return sorted((a, b) for a, b in found if a != b and {a, b} <= rooms)


def structure(floors: Floors, arrows: Arrows) -> str:
    """Write what a picture shows, to be kept in it and compared."""
    return "\n".join([*map(" | ".join, floors), *(f"{a} -> {b}" for a, b in arrows)])


def draw(floors: Floors, arrows: Arrows, lines: dict[str, int]) -> Figure:
    storey = ROOF + HEIGHT + LANE * (max(map(len, floors)) + 0.5)
    left, top, right, lane = {}, {}, {}, {}
    edge = 0.0
    for depth, floor in enumerate(floors):
        for index, room in enumerate(floor):
            width = LETTER * len(room) + 2 * PAD
            edge = max(edge + GAP + (width if index else CURVE), width + GAP)
            left[room], right[room], top[room] = edge - width, edge, storey * depth + ROOF
            lane[room] = top[room] + HEIGHT + LANE * (len(floor) - index)

    width, height = edge + GAP, storey * len(floors)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for depth in range(0, len(floors), 2):
        axes.axhspan(storey * depth, storey * (depth + 1), color="#f6f8fa", zorder=0)

    boxes = {}
    for room, x in left.items():
        size = right[room] - x
        boxes[room] = FancyBboxPatch((x, top[room]), size, HEIGHT, "round,pad=0,rounding_size=0.05")
        boxes[room].set(facecolor="white", edgecolor=INK, linewidth=0.8, zorder=3)
        axes.add_patch(boxes[room])
        for share, text, points, ink in (
            (0.38, room, 9, INK),
            (0.78, f"{lines[room]:,}", 6, FAINT),
        ):
            label = axes.text(
                x + size / 2, top[room] + share * HEIGHT, text, size=points, color=ink
            )
            label.set(ha="center", va="center_baseline", zorder=4)

    # A room's imports share a line from its foot; each turns down into the line to what it names.
    down = [(a, b) for a, b in arrows if top[a] < top[b]]
    wires = []
    for room, edge in right.items():
        x, foot, y = edge - PAD, top[room] + HEIGHT, lane[room]
        if ends := [right[b] - PAD for a, b in down if a == room]:
            wires.append(Line([(x, foot), (x, y), (max(ends) - CURVE, y)]))
            wires += [
                Line([(end - CURVE, y), (end, y), (end, y + CURVE)], [1, 3, 3]) for end in ends
            ]
        if starts := [lane[a] for a, b in down if b == room]:
            wires.append(Line([(x, min(starts) + CURVE), (x, top[room])]))
            axes.plot(x, top[room] - 0.03, "v", color=LINE, markersize=3.5, markeredgewidth=0)
    wiring = PathPatch(Line.make_compound_path(*wires), fill=False, edgecolor=LINE, linewidth=0.8)
    axes.add_patch(wiring)

    for a, b in arrows:
        if (a, b) not in down:
            tail, head = (((left[r] + right[r]) / 2, top[r] + HEIGHT / 2) for r in (a, b))
            wrong = FancyArrowPatch(tail, head, patchA=boxes[a], patchB=boxes[b])
            wrong.set(arrowstyle="-|>", mutation_scale=9, color=WRONG, linewidth=1.2, zorder=2)
            axes.add_patch(wrong)

    note = "An import leaves a room at its foot\nand turns down into the room it names.\n"
    note += "Numbers are lines of code."
    axes.text(GAP, height - GAP, note, size=7, color=FAINT, va="bottom", linespacing=1.4)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()

    folder = Path("daskpatch")
    lines = lines_by_room(folder)
    floors = floors_of(Path("pyproject.toml"), folder.name)
    rooms = {room for floor in floors for room in floor}
    if homeless := rooms ^ {room for room in lines if not room.startswith("__")}:
        sys.exit(f"either no such room or no floor for it: {', '.join(sorted(homeless))}")
    arrows = arrows_of(folder, rooms)
    today = structure(floors, arrows)

    if options.check:
        tree = ElementTree.parse(options.picture)
        if tree.findtext(".//{http://purl.org/dc/elements/1.1/}description") != today:
            sys.exit(f"{options.picture} is stale: python .ci/draw_house.py {options.picture}")
        return
    with matplotlib.rc_context(STYLE):
        metadata = {"Creator": None, "Date": None, "Description": today}
        draw(floors, arrows, lines).savefig(options.picture, metadata=metadata)


if __name__ == "__main__":
    main()
