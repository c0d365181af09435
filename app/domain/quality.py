"""What may make a score say less than it seems: prompts that were cut, answers that were, answers without a find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class TaskQuality:
    """How well a task was asked and answered.

    A count is None where some of the answers were stored by a version that did not note it, and none of the others
    counts; where some do, it is the least that it can be.
    """

    documents: int
    """With those that were left out."""
    documents_left_out: int
    """Of the score: no engine could answer them."""
    requests: int
    """Of the documents that were scored; what is asked twice alike is one."""
    requests_not_known: int
    """Whose answers were stored without a note."""
    prompts_cut: int | None
    """Requests whose context was cut, because it did not fit."""
    answers: int
    """Requests that a text answers."""
    answers_truncated: int | None
    """Texts that ended because they were as long as they may be."""
    answers_empty: int
    """Texts of nothing but blanks."""
    max_gen_toks: int | None
    """Tokens of a text at most; None where that differs, or there are no texts."""
    filter_found_nothing: Mapping[str, int] = field(default_factory=dict)
    """For each of the task's filters that searches, documents in whose answers it found nothing."""

    def to_json(self) -> dict[str, Any]:
        """As it is stored and shown."""
        return asdict(self) | {"filter_found_nothing": dict(self.filter_found_nothing)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> TaskQuality:
        """Its inverse; what a later version adds is passed over."""
        return cls(**{item.name: told[item.name] for item in fields(cls)})


@dataclass(frozen=True)
class _Found:
    """So many of a task's."""

    task: str
    count: int
    total: int
    most: int | None = None


def remarks(qualities: Mapping[str, TaskQuality]) -> list[str]:
    """A sentence for each thing out of the ordinary: the task with most of it, and how many others have some."""
    cut = [_Found(task, each.prompts_cut or 0, each.requests) for task, each in qualities.items()]
    truncated = [
        _Found(task, each.answers_truncated or 0, each.answers, each.max_gen_toks)
        for task, each in qualities.items()
    ]
    empty = [_Found(task, each.answers_empty, each.answers) for task, each in qualities.items()]
    told = [
        (CUT, _summed("prompts", cut)),
        (f"ended at {_limit(truncated)}: raise max_gen_toks", _summed("answers", truncated)),
        ("are empty", _summed("answers", empty)),
    ]
    searching = dict.fromkeys(name for each in qualities.values() for name in each.filter_found_nothing)
    told += [
        (
            f"have no answer in which the filter {name} found anything",
            _summed("documents", _lost(qualities, name)),
        )
        for name in searching
    ]
    return [f"{counted} {what}" for what, counted in told if counted]


CUT = "were cut, because they did not fit: give fewer examples, or raise the maximum length"


def _lost(qualities: Mapping[str, TaskQuality], name: str) -> list[_Found]:
    return [
        _Found(task, each.filter_found_nothing.get(name, 0), each.documents - each.documents_left_out)
        for task, each in qualities.items()
    ]


def _limit(of_tasks: list[_Found]) -> str:
    limits = {each.most for each in of_tasks if each.count}
    most = limits.pop() if len(limits) == 1 else None
    return "their longest" if most is None else f"{most} tokens"


def _summed(noun: str, of_tasks: list[_Found]) -> str:
    """`12 of 100 answers of gsm8k and 3 of 50 of another task`; empty where there are none."""
    found = sorted((each for each in of_tasks if each.count), key=lambda each: -each.count)
    if not found:
        return ""
    first, others = found[0], found[1:]
    counted = f"{first.count} of {first.total} {noun} of {first.task}"
    if not others:
        return counted
    count, total = sum(each.count for each in others), sum(each.total for each in others)
    tasks = "another task" if len(others) == 1 else f"{len(others)} other tasks"
    return f"{counted} and {count} of {total} of {tasks}"
