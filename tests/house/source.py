"""Python files of a tree of evalq, read once: what the measures of the house look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class File:
    """A module: its path below the tree, and its text."""

    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        """The folder of the tree that it stands in, as app/db."""
        return "/".join(self.path.parts[:2])

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    @property
    def filled_lines(self) -> int:
        return sum(bool(line.strip()) for line in self.text.splitlines())

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))


def files(root: Path, *folders: str) -> list[File]:
    """All modules below some folders of a tree."""
    paths = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    return [File(path.relative_to(root), path.read_text(encoding="utf-8")) for path in paths]


def body_lines(function: Function) -> int:
    """Lines from the first statement behind the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def nesting(node: ast.AST) -> int:
    """How many blocks stand in each other at most; `elif` counts as one with its `if`."""
    deepest = 0
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        chained = name == "orelse" and len(children) == 1 and isinstance(children[0], ast.If)
        for child in (child for child in children if isinstance(child, ast.AST)):
            one_more = isinstance(child, BLOCKS) and not (chained and isinstance(node, ast.If))
            deepest = max(deepest, nesting(child) + one_more)
    return deepest
