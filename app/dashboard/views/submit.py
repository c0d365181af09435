"""A job that is being written: what was typed, what is read of it, and what would become of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.dashboard.forms import Sent
from app.dashboard.words import as_json, range_of
from app.domain.forecast import Forecast
from app.domain.redaction import redact
from app.errors import FaultyField, InvalidRequestError
from app.posting.written import from_text, keepable
from app.workloads.lm_eval.spec import LmEvalSpec

BY_HAND = {
    "name": "name",
    "priority": "priority",
    "group": "group",
    "replicas": "replicas",
    "gpus_per_replica": "gpus_per_replica",
    "hours": "deadline_seconds",
    "tags": "tags",
    "variables": "variables",
    "wait_for_capacity": "wait_for_capacity",
}
"""Boxes of the form, each with the field of a job that it says."""
MOST_VALUE = 600
"""Characters of a value that are shown; the whole of it stands in the text."""
SECONDS_AN_HOUR = 3600
SOON_SECONDS = 10.0


@dataclass(frozen=True)
class Draft:
    """What stands in the form: given back as it was typed, whatever comes of it."""

    text: str = ""
    boxes: Mapping[str, str] = ()  # type: ignore[assignment]
    once: str = ""
    """Names this form, so that a second click submits nothing more."""

    def box(self, name: str) -> str:
        """What was typed into a box."""
        return dict(self.boxes).get(name, "")


@dataclass(frozen=True)
class ReadField:
    """A field as it was read, and what is wrong with it."""

    name: str
    value: str
    origin: str
    faults: Sequence[FaultyField]


def draft_of(sent: Sent) -> Draft:
    """What was posted."""
    boxes = {name: sent.one(name) for name in BY_HAND if sent.one(name).strip()}
    return Draft(sent.one("text"), boxes, sent.one("once")[:100])


def fields_of(draft: Draft) -> dict[str, Any]:
    """The job that a draft says, boxes before the text; InvalidRequestError, MalformedJsonError where it says none."""
    if not draft.text.strip():
        raise InvalidRequestError([FaultyField("text", "is empty: paste a command, a script, YAML or JSON")])
    fields = keepable(from_text(draft.text))
    said = {BY_HAND[name]: _said(name, text.strip()) for name, text in dict(draft.boxes).items()}
    if variables := said.pop("variables", None):
        fields["variables"] = {**_object(fields.get("variables")), **variables}
    return fields | said


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _said(box: str, text: str) -> Any:
    """The value of a box; what is no number stays a text, and is told to be none by the check."""
    match box:
        case "priority" | "replicas" | "gpus_per_replica":
            return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
        case "hours":
            return _seconds(text)
        case "tags":
            return [tag.strip() for tag in text.split(",") if tag.strip()]
        case "variables":
            return _variables(text)
        case "wait_for_capacity":
            return text == "yes"
        case _:
            return text


def _seconds(text: str) -> Any:
    try:
        hours = float(text)
    except ValueError:
        return text
    return hours * SECONDS_AN_HOUR if math.isfinite(hours) else text


def _variables(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if wrong := next((line for line in lines if "=" not in line), None):
        raise InvalidRequestError([FaultyField("variables", f"{redact(wrong[:100])!r} is no NAME=value")])
    parts = (line.partition("=") for line in lines)
    return {name.strip(): value.strip() for name, _, value in parts}


def read_fields(given: Mapping[str, Any], draft: Draft, faults: Iterable[FaultyField]) -> list[ReadField]:
    """Fields in the order that they were given in."""
    found = list(faults)
    by_hand = {BY_HAND[name] for name in dict(draft.boxes)}
    return [
        ReadField(
            name,
            told(value),
            "a box below" if name in by_hand else "the text",
            [each for each in found if each.path.partition(".")[0] == name and name not in by_hand],
        )
        for name, value in given.items()
    ]


def told(value: Any) -> str:
    """A value in a line or a few, without secrets, and of a long one its beginning."""
    match value:
        case Mapping():
            text = ", ".join(f"{name}={told(each)}" for name, each in value.items())
        case list() | tuple():
            text = ", ".join(map(told, value))
        case str():
            text = value
        case _:
            text = json.dumps(value)
    text = redact(text)
    return text if len(text) <= MOST_VALUE else f"{text[:MOST_VALUE]}… {len(text):,} characters"


def beside_boxes(draft: Draft, faults: Iterable[FaultyField]) -> dict[str, list[FaultyField]]:
    """Faults of what stands in boxes, by box."""
    boxes = {BY_HAND[name]: name for name in dict(draft.boxes)}
    found: dict[str, list[FaultyField]] = {}
    for fault in faults:
        if name := boxes.get(fault.path.partition(".")[0]):
            found.setdefault(name, []).append(fault)
    return found


def elsewhere(
    faults: Iterable[FaultyField], rows: Iterable[ReadField], boxes: Mapping[str, Any]
) -> list[FaultyField]:
    """Faults that stand beside no field: they are told with the text."""
    shown = {row.name for row in rows} | {BY_HAND[name] for name in boxes}
    return [fault for fault in faults if fault.path.partition(".")[0] not in shown]


def written(spec: LmEvalSpec) -> dict[str, Any]:
    """What a spec says beyond the defaults, so that a person can read it."""
    usual = LmEvalSpec().to_json()
    return {name: value for name, value in spec.to_json().items() if value != usual[name]}


def changed(fields: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    """The fields with a way out taken, as a text to submit."""
    found = dict(fields)
    for path, value in change.items():
        name, _, inner = path.partition(".")
        before = found.get(name)
        if not inner:
            found[name] = value
        elif isinstance(before, str) and before:
            found[name] = f"{before},{inner}={value}"
        else:
            found[name] = {**_object(before), inner: value}
    return as_json(found)


@dataclass(frozen=True)
class MemoryBar:
    """A part of a device's memory, in percent of it."""

    name: str
    cls: str
    gib: float
    x: float
    width: float


def memory_bars(memory: Any) -> list[MemoryBar]:
    """What a device holds, from left to right, and what is left free."""
    parts = asdict(memory)
    sizes = [
        ("Weights", "c-useful", parts["weights_gib"]),
        ("Working memory", "c-hatch", parts["activations_gib"] + parts["runtime_gib"]),
        ("KV cache", "c-running", parts["cache_gib"]),
    ]
    used = sum(size for _, _, size in sizes)
    whole = max(parts["card_gib"], used) or 1.0
    bars, x = [], 0.0
    for name, cls, size in [*sizes, ("Left free", "frame", max(0.0, whole - used))]:
        width = 100 * size / whole
        bars.append(MemoryBar(name, cls, round(size, 2), round(x, 2), round(width, 2)))
        x += width
    return bars


def begins(found: Forecast | None) -> str:
    """When a job would begin that is submitted now; nothing where that is not known."""
    if found is None or found.start is None:
        return ""
    if found.start_high is not None and found.start_high < SOON_SECONDS:
        return "Submitted now, it would begin at once."
    return f"Submitted now, it would begin in {range_of(found.start_low, found.start_high)}."


def in_words(plan: Any, model: str) -> str:
    """A plan in one sentence."""
    devices = "1 device" if plan.gpus_per_replica == 1 else f"{plan.gpus_per_replica} devices"
    copies = "As many copies" if plan.replicas is None else "1 copy"
    if plan.replicas is not None and plan.replicas > 1:
        copies = f"{plan.replicas} copies"
    each = " each" if plan.replicas != 1 else ""
    room = " as there is room for" if plan.replicas is None else ""
    where = f"group {plan.group}" if plan.group else "any group"
    return f"{copies} of {model} on {devices}{each}{room}, in {where}."
