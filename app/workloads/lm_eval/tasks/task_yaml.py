"""Reads lm-eval's task YAML files into index entries, as lm-eval's own `TaskIndex` does, without its imports.

Follows lm_eval 0.4.13, tasks/_yaml_loader.py and tasks/_index.py: files in sorted order, the first definition of a
name in a folder stands, a file that cannot be read is skipped. `!function` references stay text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from app.domain.storable import is_storable, storable_text

Kind: TypeAlias = Literal["task", "py_task", "group", "tag"]
Child: TypeAlias = str | Mapping[str, Any]
"""A name, or what is written inline: `{"task": name}` or `{"group": name, "task": [children]}`."""

_IGNORED_FOLDERS = frozenset({"__pycache__", ".ipynb_checkpoints"})
_MAX_DESCRIPTION_CHARACTERS = 100
_MAX_NAME_CHARACTERS = 300


class TaskYamlError(Exception):
    """A YAML file holds no task, group or tag that lm-eval would take."""


UNREADABLE = (
    TaskYamlError,
    yaml.YAMLError,
    OSError,
    UnicodeDecodeError,
    TypeError,
    KeyError,
    RecursionError,
)
"""What reading a task file may raise."""


@dataclass(frozen=True)
class IndexEntry:
    """One name that `--tasks` accepts. `tags` of a tag are its members, as in lm-eval's own index."""

    name: str
    kind: Kind
    yaml_path: Path | None
    tags: tuple[str, ...] = ()
    children: tuple[Child, ...] = ()
    output_type: str | None = None
    num_fewshot: int | None = None
    dataset_path: str | None = None
    dataset_name: str | None = None
    unsafe_code: bool = False
    alias: str | None = None
    description: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What the harness child needs to build this name."""
        path = None if self.yaml_path is None else str(self.yaml_path)
        return {"name": self.name, "kind": self.kind, "yaml_path": path, "tags": list(self.tags)}


@dataclass(frozen=True)
class Scan:
    """The entries of one folder, and the files they were read from with their time and size."""

    entries: dict[str, IndexEntry]
    stamps: dict[Path, tuple[int, int]] = field(repr=False)

    def is_current(self, root: Path) -> bool:
        """Whether the folder still holds exactly what was read."""
        found = set(yaml_files(root))
        known = {path for path in self.stamps if path.suffix == ".yaml" and root in path.parents}
        return found == known and all(_stamp(path) == stamp for path, stamp in self.stamps.items())


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe, and knows `!function`."""


_Loader.add_constructor("!function", lambda loader, node: f"!function {loader.construct_scalar(node)}")


def yaml_files(root: Path) -> Iterator[Path]:
    """The task files under a folder, in lm-eval's order."""
    found = (
        path
        for path in root.glob("**/*.yaml")
        if not _IGNORED_FOLDERS.intersection(path.parts) and is_storable(str(path))
    )
    return iter(sorted(found, key=lambda path: path.as_posix()))


def scan(root: Path) -> Scan:
    """Read every task file under a folder; an unreadable one is skipped, as lm-eval does."""
    files = _Files()
    entries: dict[str, IndexEntry] = {}
    members: dict[str, set[str]] = {}
    for path in yaml_files(root):
        files.stamps[path] = _stamp(path)
        with suppress(Exception):  # whatever a file holds, it keeps no other from being read
            _register(files.load(path), path, entries, members)
    for tag in members.keys() & entries.keys():
        if entries[tag].kind == "tag":
            names = tuple(sorted(members[tag]))
            entries[tag] = IndexEntry(tag, "tag", None, names, names)
    return Scan(entries, files.stamps)


def read_config(path: Path) -> dict[str, Any]:
    """One task file merged over what it includes; empty where `scan` would pass over it."""
    try:
        return _Files().load(path)
    except UNREADABLE:
        return {}


class _Files:
    """Configurations with their includes resolved; each file is parsed once."""

    def __init__(self) -> None:
        self.stamps: dict[Path, tuple[int, int]] = {}
        self._parsed: dict[Path, dict[str, Any]] = {}

    def load(self, path: Path, seen: set[Path] | None = None) -> dict[str, Any]:
        """One file merged over what it includes; a file included twice is an error, as in lm-eval."""
        path = path.expanduser().resolve()
        seen = set() if seen is None else seen
        if path in seen:
            raise TaskYamlError(f"include cycle at {path}")
        seen.add(path)
        config = dict(self._parse(path))
        includes = config.pop("include", [])
        merged: dict[str, Any] = {}
        for include in includes if isinstance(includes, list) else [includes]:
            merged |= {k: v for k, v in self.load(path.parent / include, seen).items() if k != "task_list"}
        return merged | config

    def _parse(self, path: Path) -> dict[str, Any]:
        if path not in self._parsed:
            self.stamps[path] = _stamp(path)
            config = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 - _Loader is a safe loader
            if not isinstance(config, dict):
                raise TaskYamlError(f"{path} holds no mapping")
            self._parsed[path] = config
        return self._parsed[path]


def _register(
    config: dict[str, Any], path: Path, entries: dict[str, IndexEntry], members: dict[str, set[str]]
) -> None:
    kind = _kind_of(config)
    name = config["group" if kind == "group" else "task"]
    if not _is_name(name) or name in entries:
        return
    tags = config.get("tag") or []
    tags = [tag for tag in (tags if isinstance(tags, list) else [tags]) if _is_name(tag)]
    entries[name] = _entry(name, kind, path, tags, config)
    for tag in tags if kind != "group" else []:
        members.setdefault(tag, set()).add(name)
        entries.setdefault(tag, IndexEntry(tag, "tag", None))


def _is_name(value: object) -> bool:
    """Whether a job can ask for it."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME_CHARACTERS and is_storable(value)


def _kind_of(config: dict[str, Any]) -> Kind:
    if "class" in config:
        return "py_task"
    if "group" in config:
        return "group"
    if "task" in config:
        return "task"
    raise TaskYamlError("neither class, group nor task")


def _entry(name: str, kind: Kind, path: Path, tags: list[str], config: dict[str, Any]) -> IndexEntry:
    alias = config.get("group_alias" if kind == "group" else "task_alias")
    return IndexEntry(
        name,
        kind,
        path,
        tuple(sorted(set(tags))),
        _children(config.get("task")) if kind == "group" else (),
        _text(config.get("output_type")),
        config["num_fewshot"] if isinstance(config.get("num_fewshot"), int) else None,
        _text(config.get("dataset_path")),
        _text(config.get("dataset_name")),
        config.get("unsafe_code", False) is not False,
        _text(alias),
        _text(config.get("description")),
    )


def _children(listed: object) -> tuple[Child, ...]:
    """A group's members; of those written inline only what names them."""
    return tuple(_child(item) for item in listed) if isinstance(listed, list) else ()


def _child(item: object) -> Child:
    if not isinstance(item, dict):
        name = str(item) if isinstance(item, str | int | float) else ""
        return name if _is_name(name) else {}
    if _is_name(item.get("group")):
        return {"group": item["group"], "task": list(_children(item.get("task")))}
    return {"task": item["task"]} if "group" not in item and _is_name(item.get("task")) else {}


def _text(value: object) -> str | None:
    """Short text only: long few-shot instructions do not belong into an index."""
    short = isinstance(value, str) and 0 < len(value) <= _MAX_DESCRIPTION_CHARACTERS
    return storable_text(value) if isinstance(value, str) and short else None


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
