"""Members of groups that nobody has: lm-eval 0.4.13 takes such a name for a task written there, without data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import FaultyField as Fault
from app.workloads.lm_eval.tasks.task_index import TaskIndex
from app.workloads.lm_eval.tasks.task_yaml import IndexEntry, read_config

DATA = ("dataset_path", "custom_dataset", "include")
"""What makes a member a task of its own, in its place or above it (tasks/_factory.py, `_build_group_members`)."""

MOST_FAULTS = 10
NEAR_FAULTS = 3
"""Of these, those with near names: finding them takes a while."""


@dataclass(frozen=True)
class Missing:
    """A member that is no name of the index and brings no data."""

    group: str
    name: str


def missing_members(index: TaskIndex, names: Sequence[str]) -> list[Missing]:
    """What the groups among these names and below them name in vain, each once, in order."""
    if all(not _strangers(index, entry) for entry in index.closure(names)):
        return []
    walk = _Walk(index)
    for name in index.resolve(names):
        walk.enter(name, has_data=False)
    return list(walk.found)


def member_faults(index: TaskIndex, names: Sequence[str], path: str = "tasks") -> list[Fault]:
    """The same in words, with near names; of very many only the first."""
    missing = missing_members(index, names)
    faults = [
        _fault(index, each, path, near=at < NEAR_FAULTS) for at, each in enumerate(missing[:MOST_FAULTS])
    ]
    if more := missing[MOST_FAULTS:]:
        faults.append(Fault(path, f"{len(more)} more members of these groups do not exist"))
    return faults


def _fault(index: TaskIndex, missing: Missing, path: str, *, near: bool) -> Fault:
    alike = tuple(index.near(missing.name)) if near else ()
    hint = f"; did you mean {', '.join(alike)}?" if alike else ""
    said = f"group {missing.group!r} names {missing.name!r}, which is no task, group or tag{hint}"
    return Fault(path, said, alike or None)


def _strangers(index: TaskIndex, entry: IndexEntry) -> list[str]:
    return [name for name in index.named_by(entry) if name not in index]


@dataclass
class _Walk:
    """Down from the names of a job, as lm-eval builds them: what is written above a member counts for it too."""

    index: TaskIndex
    found: dict[Missing, None] = field(default_factory=dict)
    _seen: set[tuple[str, bool]] = field(default_factory=set)

    def enter(self, name: str, *, has_data: bool) -> None:
        """Look at one name of the index; a group inside itself ends."""
        entry = self.index.get(name)
        if entry is None or entry.kind != "group" or (name, has_data) in self._seen or not entry.yaml_path:
            return
        self._seen.add((name, has_data))
        self._members(name, read_config(entry.yaml_path), has_data=has_data)

    def _members(self, group: str, config: Mapping[str, Any], *, has_data: bool) -> None:
        has_data = has_data or _has_data(config)
        for member in _listed(config):
            if not isinstance(member, Mapping):
                self._member(group, str(member), has_data=has_data)
            elif "group" in member:
                self._subgroup(group, member, has_data=has_data)
            elif "task" in member:
                self._member(group, str(member["task"]), has_data=has_data or _has_data(member))

    def _subgroup(self, group: str, member: Mapping[str, Any], *, has_data: bool) -> None:
        name = str(member["group"])
        if name in self.index:
            self.enter(name, has_data=has_data or _has_data(member))
        else:
            self._members(f"{group}::{name}", member, has_data=has_data)

    def _member(self, group: str, name: str, *, has_data: bool) -> None:
        if name in self.index:
            self.enter(name, has_data=has_data)
        elif not has_data:
            self.found[Missing(group, name)] = None


def _has_data(config: Mapping[str, Any]) -> bool:
    return any(config.get(name) is not None for name in DATA)


def _listed(config: Mapping[str, Any]) -> Iterable[Any]:
    listed = config.get("task")
    return listed if isinstance(listed, list) else ()
