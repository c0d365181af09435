"""Where knowledge leaks out of its room, counted: each finding says file and line."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from app.backends import BACKENDS

from .source import File

FRAMES = {"frame", "message", "order"}
CODEC = {Path("workers/protocol/messages.py")}
"""Where a message and its bytes meet."""
OTHERS = {
    Path("workers/harness_child/lm_eval/broker_lm.py"),  # messages of a chat
    Path(
        "workers/harness_child/lm_eval/gguf_reader.py"
    ),  # a program of its own, whose order is JSON on stdin
}
"""What is called so and goes over no socket."""
SPECS = {"spec", "_spec"}
NAMES = {name for backend in BACKENDS.values() for name in (backend.name, *backend.model_names)}
GROUPS_OF_NAMES = {"ENGINES", "HF_MODELS"}
"""What the names of backends were gathered under."""


def frame_lookups(source: Sequence[File]) -> list[str]:
    """Fields of a message between processes that are looked up by a text."""
    carried = [file for file in source if file.path not in OTHERS]
    return _found(carried, ("workers",), lambda node: _name_looked_up(node) in FRAMES)


def spec_lookups(source: Sequence[File]) -> list[str]:
    """Fields of a job's spec that are looked up by a text."""
    return _found(source, ("app", "workers"), lambda node: _name_looked_up(node) in SPECS)


def untyped_messages(source: Sequence[File]) -> list[str]:
    """Messages between processes that are written as dictionaries."""
    written = [file for file in source if file.path not in CODEC]
    return _found(
        written, ("workers",), lambda node: isinstance(node, ast.Dict) and "type" in _texts(node.keys)
    )


def backend_comparisons(source: Sequence[File]) -> list[str]:
    """Decisions by a backend's name outside the room that knows backends."""
    outside = [file for file in source if file.room != "app/backends"]
    return _found(outside, ("app", "workers"), _decides_by_name)


def open_dictionaries(source: Sequence[File]) -> int:
    """How often dict[str, Any] stands anywhere, by plain count."""
    return sum(file.text.count("dict[str, Any]") for file in source)


def double_names(source: Sequence[File]) -> dict[str, list[str]]:
    """Classes of one name in several modules."""
    places = defaultdict(list)
    for file in source:
        for node in file.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.path))
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def _found(source: Sequence[File], folders: tuple[str, ...], is_one: Callable[[ast.AST], bool]) -> list[str]:
    return [
        f"{file.path}:{node.lineno}"
        for file in source
        if file.path.parts[0] in folders
        for node in ast.walk(file.tree)
        if isinstance(node, ast.expr | ast.pattern) and is_one(node)
    ]


def _name_looked_up(node: ast.AST) -> str | None:
    """`spec` of spec["field"], job.spec["field"] and spec.get("field")."""
    match node:
        case ast.Subscript(value=holder, slice=ast.Constant(value=str())):
            return _last_name(holder)
        case ast.Call(func=ast.Attribute(value=holder, attr="get"), args=[ast.Constant(value=str()), *_]):
            return _last_name(holder)
        case _:
            return None


def _last_name(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def _decides_by_name(node: ast.AST) -> bool:
    match node:
        case ast.Compare(left=left, comparators=others):
            return any(map(_is_backend, (left, *others)))
        case ast.MatchValue(value=value):
            return _is_backend(value)
        case ast.Dict(keys=keys):
            return bool(NAMES & _texts(keys))
        case _:
            return False


def _is_backend(node: ast.AST) -> bool:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return bool(NAMES & _texts(node.elts))
    return bool(NAMES & _texts([node])) or _last_name(node) in GROUPS_OF_NAMES


def _texts(nodes: Sequence[ast.AST | None]) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
