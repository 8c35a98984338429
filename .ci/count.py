"""Measure the package: lines by room, parameters that take anything, comments that say why.

`count.py [FOLDER] [--check]`; FOLDER is the package. With `--check` it fails beyond a limit.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

LARGEST_ROOM = 0.12
MOST_LOOSE = {"Any": 0.03, "object": 0.05}  # shares of the parameters

LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
FOR_TOOLS = re.compile(r"#\s*(noqa(:[A-Z0-9, ]+)?|type: ignore(\[[\w, -]+\])?)\s*")


def sources(folder: Path) -> dict[Path, str]:
    return {path: path.read_text("utf-8") for path in sorted(folder.rglob("*.py"))}


def room_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).parts[0].removesuffix(".py")


def tokens_of(text: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(text).readline)


def lines_of_code(text: str) -> int:
    """Count the lines that are not blank, a comment, or part of a string that stands alone."""
    code = {
        line
        for token in tokens_of(text)
        if token.type not in LAYOUT and token.string
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=last):
                code.difference_update(range(first, (last or first) + 1))
    return len(code)


def lines_by_room(folder: Path) -> Counter[str]:
    lines: Counter[str] = Counter()
    for path, text in sources(folder).items():
        lines[room_of(path, folder)] += lines_of_code(text)
    return lines


def why_comments(text: str) -> int:
    comments = (token.string for token in tokens_of(text) if token.type == tokenize.COMMENT)
    return sum(not FOR_TOOLS.fullmatch(comment) for comment in comments)


class Names:
    """The aliases of types that the package's modules define or import."""

    def __init__(self, trees: dict[Path, ast.Module]) -> None:
        self._defined: dict[tuple[Path, str], ast.expr] = {}
        self._imported: dict[tuple[Path, str], str] = {}
        for path, tree in trees.items():
            for node in tree.body:
                match node:
                    case (
                        ast.Assign(targets=[ast.Name(id=name)], value=value)
                        | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                    ):
                        self._defined[path, name] = value
            for inner in ast.walk(tree):
                if isinstance(inner, ast.ImportFrom):
                    self._imported |= {(path, n.asname or n.name): n.name for n in inner.names}

    def members(self, path: Path, annotation: ast.expr | None) -> set[str]:
        """Give the names that an annotation of a module unites, its aliases followed."""
        match annotation:
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.members(path, left) | self.members(path, right)
            case ast.Subscript(
                value=ast.Name(id="Optional" | "Union") | ast.Attribute(attr="Optional" | "Union"),
                slice=united,
            ):
                each = united.elts if isinstance(united, ast.Tuple) else [united]
                return {name for part in each for name in self.members(path, part)}
            case ast.Constant(value=str(text)):
                return self.members(path, ast.parse(text, mode="eval").body)
            case ast.Attribute(attr=name):
                return {name}
            case ast.Name(id=name):
                return {name}.union(*(self.members(*alias) for alias in self._aliases(path, name)))
        return set()

    def _aliases(self, path: Path, name: str) -> list[tuple[Path, ast.expr]]:
        if (path, name) in self._defined:
            return [(path, self._defined[path, name])]
        name = self._imported.get((path, name), "")
        return [(home, value) for (home, known), value in self._defined.items() if known == name]


def parameters(tree: ast.Module) -> Iterator[ast.arg]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            yield from (
                each
                for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)
                if each.arg not in ("self", "cls")
            )
            yield from (each for each in (given.vararg, given.kwarg) if each and each.annotation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("daskpatch"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()

    wrong = []
    texts = sources(options.folder)
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lines = lines_by_room(options.folder)
    total = lines.total()
    for room, count in lines.most_common():
        print(f"{room:14}{count:7,}{count / total:8.1%}")
        if count > LARGEST_ROOM * total:
            wrong.append(f"{room} has {count / total:.1%} of the lines, at most {LARGEST_ROOM:.0%}")
    print(f"{'lines of code':14}{total:7,}")

    names = Names(trees)
    found = [
        names.members(path, each.annotation)
        for path, tree in trees.items()
        for each in parameters(tree)
    ]
    for loose, most in MOST_LOOSE.items():
        count = sum(loose in members for members in found)
        measure = f"{count} of {len(found):,} parameters are {loose} ({count / len(found):.1%})"
        print(measure)
        if count > most * len(found):
            wrong.append(f"{measure}, at most {most:.0%}")

    whys = sum(map(why_comments, texts.values()))
    print(f"{whys} comments, {100 * whys / total:.1f} per 100 lines of code")

    if options.check and wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
