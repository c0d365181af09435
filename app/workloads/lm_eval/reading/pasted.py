"""A posted body with a pasted command in it, as the fields that both say: those beside the command win."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from app.errors import FaultyField, InvalidJobError
from app.workloads.lm_eval.command.command_line import parse_command
from app.workloads.lm_eval.command.host_environment import NOT_THE_JOBS, is_of_a_host
from app.workloads.lm_eval.spec import MOST_STRING

MOST_FILES: Final = 10
_BESIDE = ("variables", "files")


@dataclass(frozen=True)
class Pasted:
    """The fields of a body, and what a command in it leaves to be said."""

    given: dict[str, Any]
    notes: tuple[str, ...] = ()
    faults: tuple[FaultyField, ...] = ()
    unsure: frozenset[str] = field(default_factory=frozenset)
    """Fields that the faults tell of."""


def pasted(posted: Mapping[str, Any], env_allowed: Collection[str] = ()) -> Pasted:
    """What was posted, or InvalidJobError where nothing more can be said of it.

    What a command sets for its own host is left out, unless the operator takes it (`env_allowed`).
    """
    given = {name: value for name, value in posted.items() if value is not None}
    text = given.pop("command", None)
    variables, files = (given.pop(name, {}) for name in _BESIDE)
    if text is None:
        beside = [name for name, value in zip(_BESIDE, (variables, files), strict=True) if value]
        faults = (FaultyField(name, "is for a pasted command, and there is none") for name in beside)
        return Pasted(given, faults=tuple(faults))
    if len(text) > MOST_STRING:
        raise InvalidJobError([FaultyField("command", f"has at most {MOST_STRING} characters")])
    long = [name for name, value in variables.items() if len(value) > MOST_STRING]
    if long:
        message = f"has at most {MOST_STRING} characters"
        raise InvalidJobError([FaultyField(f"variables.{name}", message) for name in long])
    parsed = parse_command(text, variables, files)
    if not parsed.fields:
        raise InvalidJobError(parsed.faults)
    said = frozenset(parsed.unsure - given.keys())
    of_host = [
        name for name in parsed.fields.get("env", {}) if is_of_a_host(name) and name not in env_allowed
    ]
    fields, notes = (
        _without(parsed.fields, of_host),
        [*parsed.notes, *(f"{n} {NOT_THE_JOBS}" for n in of_host)],
    )
    return Pasted(fields | given, tuple(notes), tuple(parsed.faults), said)


def _without(fields: Mapping[str, Any], variables: Collection[str]) -> dict[str, Any]:
    env = {name: value for name, value in fields.get("env", {}).items() if name not in variables}
    return {name: value for name, value in fields.items() if name != "env"} | ({"env": env} if env else {})
