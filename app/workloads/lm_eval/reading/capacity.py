"""The groups that a posted job may run on, and what they lack where none would do."""

from __future__ import annotations

from collections.abc import Sequence

from app.arguments.kinds import shown
from app.backends import Backend
from app.backends.standing_in import that_serve
from app.domain.group import GROUP_NAME, GroupView, unusable
from app.workloads.lm_eval.reading.fields import FieldReader


def named_groups(groups: Sequence[GroupView], wanted: str | None) -> list[GroupView]:
    """The groups that a job which asks for this one may use, whatever they have."""
    return [group for group in groups if wanted in (None, group.name)]


def usable_groups(reader: FieldReader, backend: Backend, groups: Sequence[GroupView]) -> list[GroupView]:
    """The groups this job may run on; faults where there are workers and none would do."""
    wanted = reader.spec.group
    named = named_groups(groups, wanted)
    names = tuple(group.name for group in groups)
    if wanted is not None and not named and not GROUP_NAME.fullmatch(wanted):
        reader.fault("group", f"no group can be called {shown(wanted)}: letters, digits, - and _", names)
    elif groups and wanted is not None and not named:
        reader.lack("group", f"there is no group {shown(wanted)}", f"group {wanted}", names)
    offering = [group for group in named if backend.name in group.backends]
    if backend.planned_only:
        _lack_engine(reader, backend.name)
    elif named and not offering:
        _lack_backend(reader, backend.name, named, groups)
    return offering


def _lack_engine(reader: FieldReader, backend: str) -> None:
    none = f"evalq has no engine for {backend} yet"
    message = f"{none}, so that no worker has it: this job is planned, not run"
    reader.lack("model", message, f"backend {backend} ({none})")


def _lack_backend(
    reader: FieldReader, backend: str, named: Sequence[GroupView], groups: Sequence[GroupView]
) -> None:
    """No group that may be used offers it: it does not work there now, or is not there at all."""
    wanted, elsewhere = reader.spec.group, [group.name for group in groups if backend in group.backends]
    place = f" in group {wanted}" if wanted else ""
    found = [(group.name, unusable(group.installed).get(backend)) for group in named]
    if broken := [f"on group {name} it does not work now ({why})" for name, why in found if why]:
        why = "; ".join(broken)
        lacks, message = f"backend {backend}{place}: {why}", f"backend {backend}: {why}"
        message += ": `evalq doctor` on its host says more"
    else:
        serve = that_serve(reader.spec.model)
        lacks = f"backend {' or '.join(serve)}{place}"
        message = f"backend {backend} is installed on no worker that may be used: "
        message += f"run `evalq backends install {' or '.join(serve)}` on a worker's host"
    if elsewhere:
        message += f", or let the job use group {' or '.join(elsewhere)}, which has it"
    offered = sorted({name for group in named for name in group.backends})
    reader.lack("model", message, lacks, tuple(offered))
