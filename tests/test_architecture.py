"""The map for contributors names what there is: rooms, files, and the functions in them."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import daskpatch

ROOT = Path(__file__).parent.parent
PACKAGE = Path(daskpatch.__file__).parent
"""Wherever it is installed: it need not be beside the tests."""

MAP = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PROSE = re.sub(r"^```.*?^```$", "", MAP, flags=re.MULTILINE | re.DOTALL)

FILE = re.compile(r"[\w./-]+\.(py|md|svg|toml|ipynb)|\.ci/\w+|\w[\w/]*/")
NAMED = re.compile(r"`([\w./]+\.py)`,\s+`([\w.]+)`")
NAMED_BEFORE = re.compile(r"`([\w.]+)`\s+\(`([\w./]+\.py)`")


def found(name):
    """A file or folder of the repository, or inside the package."""
    within = name.removeprefix("daskpatch/")
    return next((p for p in (PACKAGE / within, ROOT / name) if p.exists()), None)


def files_in(text):
    spans = re.findall(r"`([^`\n]+)`", text)
    return sorted({word for span in spans for word in span.split() if FILE.fullmatch(word)})


def rooms():
    """What lies right below the package."""
    entries = (path for path in PACKAGE.iterdir() if not path.name.startswith("__"))
    return {p.stem for p in entries if p.suffix == ".py" or (p / "__init__.py").is_file()}


def test_every_room_has_a_line_and_every_line_a_room():
    lines = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", section("Floors"), re.MULTILINE)
    assert sorted(lines) == sorted(rooms())


def test_a_name_of_a_module_is_used_in_one_room_only():
    rooms_by_name = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        if path.stem != "__init__":
            rooms_by_name[path.stem].add(path.parent.relative_to(PACKAGE).as_posix())
    assert len(rooms_by_name) > 200
    assert {name: found for name, found in rooms_by_name.items() if len(found) > 1} == {}


def test_a_function_or_class_has_its_name_alone():
    """What has an underscore, and the commands of the verbs, which are called as those, may not."""
    defined = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        if path.name == "commands.py":
            continue
        for name, is_alias in names_in(path).items():
            defined[name].append(is_alias)
    assert len(defined) > 800
    # Several aliases may spell one type, each where it is used.
    assert [name for name, found in defined.items() if len(found) > 1 and not all(found)] == []


def names_in(path):
    """The public names of a module, and whether each is an alias or a value."""
    found = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = False
        elif isinstance(node, ast.Assign):
            found |= {each.id: True for each in node.targets if isinstance(each, ast.Name)}
    return {name: is_alias for name, is_alias in found.items() if not name.startswith("_")}


def section(title):
    return PROSE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("text", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_exists(text):
    names = files_in((ROOT / text).read_text("utf-8"))
    assert names
    assert [name for name in names if found(name) is None] == []


def test_every_function_is_in_the_file_that_it_is_said_to_be_in():
    named = NAMED.findall(PROSE)
    assert len(named) > 40
    assert [(file, name) for file, name in named if not defines(file, name)] == []


def test_what_contributors_are_to_change_is_where_it_is_said_to_be():
    named = NAMED_BEFORE.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert named
    assert [(name, file) for name, file in named if not defines(file, name)] == []


def defines(file, name):
    text = found(file).read_text("utf-8")
    return all(
        re.search(rf"^ *(def|class) {part}\b|^ *{part}\b *[:=]", text, re.MULTILINE)
        for part in name.split(".")
    )


def test_links_lead_somewhere():
    for text in ("docs/architecture.md", "CONTRIBUTING.md"):
        place = ROOT / text
        links = re.findall(r"\]\(([^)#]+)\)", place.read_text("utf-8"))
        assert links
        assert [link for link in links if not (place.parent / link).exists()] == []
