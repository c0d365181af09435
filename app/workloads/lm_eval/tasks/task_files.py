"""Tasks by the files that define them: one file, a folder, or a pattern, as `lm_eval run --tasks` takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from app.workloads.lm_eval.tasks.task_yaml import IndexEntry

_SIGNS = frozenset("*?[")


def is_place(text: str) -> bool:
    """Whether it names files; no task, group or tag of lm_eval 0.4.13 is called so."""
    return "/" in text or text.endswith((".yaml", ".yml"))


class TaskFiles:
    """The files of the operator's folders. No other file is looked at, whatever is asked for."""

    def __init__(self, entries: Mapping[str, IndexEntry], roots: Sequence[Path]) -> None:
        self._roots = [root.resolve() for root in roots]
        self._names: dict[Path, list[str]] = defaultdict(list)
        for name, entry in entries.items():
            if entry.yaml_path:
                self._names[entry.yaml_path.resolve()].append(name)

    def at(self, text: str) -> list[str]:
        """What the file, the files of the folder itself, or those that match the pattern define, by path."""
        place = _real(text)
        found = [path for path in self._names if place in {path, path.parent}] or self._matching(place)
        return [name for path in sorted(found) if self._is_inside(path) for name in self._names[path]]

    def fault(self, text: str) -> str:
        """Why `at` finds nothing."""
        place = _real(text)
        if self._is_inside(place):
            return f"no task file at {place.name!r} defines a task or group of its own; name the task"
        return (
            "task files and folders of them are taken from the operator's task folders only (EVALQ_TASK_PATHS);"
            " name the task"
        )

    def _matching(self, place: Path) -> list[Path]:
        """Signs of a pattern match within one part of a path, and no hidden file, as in a shell."""
        if not _SIGNS.intersection(str(place)) or place.suffix != ".yaml":
            return []
        alike = (path for path in self._names if len(path.parts) == len(place.parts))
        return [path for path in alike if all(map(_fits, path.parts, place.parts))]

    def _is_inside(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)


def _real(text: str) -> Path:
    path = Path(text)
    try:
        return path.resolve()
    except RuntimeError:  # links in a ring
        return path.absolute()


def _fits(part: str, pattern: str) -> bool:
    return part == pattern or (part.startswith(".") == pattern.startswith(".") and fnmatchcase(part, pattern))
