"""Every name that `--tasks` accepts: lm-eval's own from the stored index, the operator's from their folders."""

from __future__ import annotations

import difflib
import fnmatch
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from app.errors import FaultyField as Fault
from app.workloads.lm_eval.tasks.packaged_index import PackagedIndex, installed_tasks_dir, load_packaged
from app.workloads.lm_eval.tasks.task_files import TaskFiles, is_place
from app.workloads.lm_eval.tasks.task_yaml import Child, IndexEntry, Scan, scan

_SCANS: dict[Path, Scan] = {}
_SCANNING = threading.Lock()
_NEAR_CANDIDATES = 200
_DUPLICATE_FAULTS = 10
_NEAR_FAULTS = 3
"""Unknown names that get near ones: finding them takes a while."""


@dataclass(frozen=True)
class Duplicate:
    """A task that two of the names asked for contain; lm-eval refuses such a list."""

    task: str
    first: str
    second: str


@dataclass(frozen=True)
class SearchPage:
    """Some entries of an answer, and where the next page begins."""

    entries: list[IndexEntry]
    next_cursor: str | None


class TaskIndex:
    """Names, what they stand for, and what lm-eval needs to build them."""

    def __init__(
        self,
        packaged: PackagedIndex,
        tasks_dir: Path,
        own: Mapping[str, IndexEntry],
        roots: Sequence[Path] = (),
    ) -> None:
        self._packaged = packaged
        self._tasks_dir = tasks_dir
        self._own = own
        self._roots = roots
        self._matched: dict[str, list[str]] = {}

    @classmethod
    def load(cls, task_paths: Sequence[Path] = (), lm_eval_tasks_dir: Path | None = None) -> TaskIndex:
        """lm-eval's tasks and those of the operator's folders; the later folder overrides.

        A folder is read again only when a file in it was added, removed or written.
        """
        own: dict[str, IndexEntry] = {}
        for root in task_paths:
            own |= _scan_once(root).entries
        return cls(load_packaged(), lm_eval_tasks_dir or installed_tasks_dir(), own, tuple(task_paths))

    @property
    def lm_eval_version(self) -> str:
        """The lm_eval whose tasks are stored; the installed one must be the same."""
        return self._packaged.lm_eval_version

    @cached_property
    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted({*self._packaged.rows, *self._own})

    @cached_property
    def _files(self) -> TaskFiles:
        return TaskFiles(self._own, self._roots)

    def __contains__(self, name: str) -> bool:
        return name in self._own or name in self._packaged.rows

    def get(self, name: str) -> IndexEntry | None:
        """The entry of one exact name."""
        return self._own.get(name) or self._packaged.entry(name, self._tasks_dir)

    def resolve(self, patterns: Sequence[str]) -> list[str]:
        """The names that patterns such as `mmlu_*` stand for, in order, each once; unknown ones add nothing."""
        return list(dict.fromkeys(name for pattern in patterns for name in self._matches(pattern)))

    def unknown(self, patterns: Sequence[str]) -> list[str]:
        """The patterns that stand for nothing."""
        return [pattern for pattern in patterns if not self._matches(pattern)]

    def expand(self, patterns: Sequence[str]) -> list[str]:
        """The leaf tasks, under the names that lm-eval reports them by; unknown patterns add nothing."""
        return list(dict.fromkeys(leaf for name in self.resolve(patterns) for leaf in self._leaves(name)))

    def closure(self, patterns: Sequence[str]) -> list[IndexEntry]:
        """Every entry that lm-eval needs to build these names: themselves, members of groups and of tags."""
        found: dict[str, IndexEntry] = {}
        waiting = self.resolve(patterns)[::-1]
        while waiting:
            name = waiting.pop()
            entry = None if name in found else self.get(name)
            if entry:
                found[name] = entry
                waiting += reversed(list(_names_in(entry.children)))
        return list(found.values())

    def duplicates(self, patterns: Sequence[str]) -> list[Duplicate]:
        """Tasks that two names contain, found as lm-eval's TaskManager finds them."""
        seen: dict[str, str] = {}
        found: list[Duplicate] = []
        for name in self.resolve(patterns):
            entry = self.get(name)
            for leaf in self._leaves(name):
                source = name if entry and entry.kind == "group" else leaf
                if seen.setdefault(leaf, source) != source:
                    found.append(Duplicate(leaf, seen[leaf], source))
        return found

    def faults(self, patterns: Sequence[str], path: str = "tasks") -> list[Fault]:
        """Everything wrong with a list of names that can be known without lm-eval."""
        faults = [] if patterns else [Fault(path, "name at least one task")]
        for at, pattern in enumerate(patterns):
            if not self._matches(pattern):
                faults.append(self._unknown(pattern, f"{path}.{at}", near=len(faults) < _NEAR_FAULTS))
        faults += _ambiguous(self.duplicates(patterns), path)
        return faults + [
            Fault(path, message) for entry in self.closure(patterns) for message in self._broken(entry)
        ]

    def named_by(self, entry: IndexEntry) -> list[str]:
        """The names that a group's members refer to, those of groups written inside it included."""
        return list(_names_in(entry.children))

    def near(self, name: str, n: int = 3) -> list[str]:
        """The names most like a misspelt one, most like first."""
        wanted = _pairs_of_letters(name)
        alike = sorted(self.names, key=lambda known: _unlike(wanted, known))[:_NEAR_CANDIDATES]
        return difflib.get_close_matches(name.casefold(), alike, n=n, cutoff=0.5)

    def search(self, text: str = "", limit: int = 50, cursor: str | None = None) -> SearchPage:
        """Entries whose name or dataset holds every word of `text`: exact, beginnings, the rest, by name."""
        words = text.casefold().split()
        ranked = sorted(rank for name in self.names if (rank := self._rank(name, words)) is not None)
        rest = [rank for rank in ranked if cursor is None or f"{rank[0]}:{rank[1]}" > cursor]
        page = rest[:limit]
        entries = [entry for _, name in page if (entry := self.get(name))]
        return SearchPage(entries, f"{page[-1][0]}:{page[-1][1]}" if page and len(rest) > limit else None)

    def _rank(self, name: str, words: list[str]) -> tuple[int, str] | None:
        """0 for the name itself, 1 for a beginning, 2 for a part, 3 for a match in name and dataset."""
        low = name.casefold()
        if all(word in low for word in words):
            return (0 if [low] == words else 1 if low.startswith(tuple(words[:1])) else 2), name
        own = self._own.get(name)
        dataset = (own.dataset_path or "") if own else self._packaged.dataset_path(name)
        text = f"{low} {dataset.casefold()}"
        return (3, name) if all(word in text for word in words) else None

    def _matches(self, pattern: str) -> list[str]:
        if pattern in self:
            return [pattern]
        if is_place(pattern):
            return self._files.at(pattern)
        if not any(sign in pattern for sign in "*?["):
            return []
        if pattern not in self._matched:  # one pass over the names, however often it is asked for
            self._matched[pattern] = fnmatch.filter(self.names, pattern)
        return self._matched[pattern]

    def _leaves(self, name: str) -> list[str]:
        entry = self.get(name)
        match entry:
            case None:
                return []
            case IndexEntry(kind="group"):
                return list(dict.fromkeys(self._group_leaves(name, entry.children, None, (name,))))
            case IndexEntry(kind="tag"):
                return [member for member in entry.tags if member in self]
            case _:
                return [name]

    def _group_leaves(
        self, group: str, children: Sequence[Child], override: str | None, above: tuple[str, ...] = ()
    ) -> Iterator[str]:
        """Leaves in lm-eval's order (_factory.py, `_build_group_members`); a group inside itself adds nothing.

        A member written as `{"task": name, ...}` passes its `task` on to everything under it: lm-eval then
        reports all of it under that one name.
        """
        for child in children:
            if isinstance(child, str):
                yield from self._member_leaves(group, child, override, above)
            elif "group" in child and child["group"] not in self:
                inline = f"{group}::{child['group']}"
                yield from self._group_leaves(inline, child.get("task") or (), override, above)
            elif "group" in child:
                yield from self._member_leaves(group, child["group"], override, above)
            elif "task" in child:
                yield from self._member_leaves(group, child["task"], child["task"], above)

    def _member_leaves(
        self, group: str, name: str, override: str | None, above: tuple[str, ...]
    ) -> Iterator[str]:
        entry = self.get(name)
        match entry:
            case None:
                yield f"{group}::{name}"
            case IndexEntry(kind="group"):
                if name not in above:
                    yield from self._group_leaves(name, entry.children, override, (*above, name))
            case IndexEntry(kind="tag"):
                yield from (override or member for member in entry.tags)
            case _:
                yield override or name

    def _broken(self, entry: IndexEntry) -> list[str]:
        """What keeps lm-eval 0.4.13 from building a group, whatever data there is."""
        inline = list(_inline(entry.children))
        nameless = ["a member has neither `task` nor `group` with a name"] if {} in inline else []
        groups = [str(child["group"]) for child in inline if "group" in child and child.get("task")]
        taken = [name for name in groups if name in self]
        again = [f"the group {name!r} written inside it is also a name of its own" for name in taken]
        return [f"lm-eval cannot build the group {entry.name!r}: {reason}" for reason in nameless + again]

    def _unknown(self, pattern: str, path: str, *, near: bool) -> Fault:
        if is_place(pattern):
            return Fault(path, self._files.fault(pattern))
        names = tuple(self.near(pattern)) if near else ()
        hint = f"; did you mean {', '.join(names)}?" if names else ""
        return Fault(path, f"no task, group or tag is called {pattern!r}{hint}", names or None)


def _scan_once(root: Path) -> Scan:
    with _SCANNING:
        known = _SCANS.get(root)
        if known is None or not known.is_current(root):
            _SCANS[root] = known = scan(root)
        return known


def _names_in(children: Sequence[Child]) -> Iterator[str]:
    """Every name that members refer to, inline groups included."""
    for child in children:
        if isinstance(child, str):
            yield child
        elif "group" in child:
            yield str(child["group"])
            yield from _names_in(child.get("task") or ())
        elif "task" in child:
            yield str(child["task"])


def _inline(children: Sequence[Child]) -> Iterator[Mapping[str, Any]]:
    """The members that are written inside a group, at any depth."""
    for child in children:
        if not isinstance(child, str):
            yield child
            yield from _inline(child["task"] if "group" in child else ())


def _ambiguous(duplicates: Sequence[Duplicate], path: str) -> list[Fault]:
    """What would run twice, by the two names that bring it in; a wide pattern brings in hundreds."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for each in duplicates:
        pairs.setdefault((each.first, each.second), []).append(each.task)
    said = []
    for (first, second), tasks in list(pairs.items())[:_DUPLICATE_FAULTS]:
        others = f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
        said.append(f"{tasks[0]!r}{others} would run twice: under {first!r} and under {second!r}; drop one")
    if len(pairs) > _DUPLICATE_FAULTS:
        rest = len(pairs) - _DUPLICATE_FAULTS
        said.append(f"{rest} more pairs of these names share tasks: name the groups, or the tasks, not both")
    return [Fault(path, message) for message in said]


def _pairs_of_letters(text: str) -> Counter[str]:
    low = text.casefold()
    return Counter(low[at : at + 2] for at in range(len(low) - 1))


def _unlike(wanted: Counter[str], known: str) -> float:
    """A cheap distance to choose candidates by: pairs of letters that only one side has."""
    low = known.casefold()
    pairs = [low[at : at + 2] for at in range(len(low) - 1)]
    common = sum(1 for pair in pairs if pair in wanted)
    return len(pairs) + wanted.total() - 2 * common
