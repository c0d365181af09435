"""How well a scored task was asked and answered: what may make its score say less than it seems."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from lm_eval.filters.extraction import POSFilter, RegexFilter
from lm_eval.filters.transformation import MapFilter

from workers.harness_child.errors import caught, said, sayable
from workers.harness_child.lm_eval.ledger import Ledger
from workers.harness_child.lm_eval.requests import Key, settings_of
from workers.protocol.harness import QualityTold
from workers.protocol.payload import EndedBy, RequestKind, ResponseNote

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Reply:
    """A response, as far as it counts here."""

    note: ResponseNote
    text: str | None
    """None where it is a number."""

    @property
    def is_known(self) -> bool:
        return self.note.cut is not None and (self.text is None or self.note.ended_by is not None)

    @property
    def is_cut(self) -> bool | None:
        return None if self.note.cut is None else self.note.cut > 0

    @property
    def is_truncated(self) -> bool | None:
        if self.text is None:
            return False
        return None if self.note.ended_by is None else self.note.ended_by is EndedBy.LENGTH

    @property
    def is_empty(self) -> bool:
        return self.text is not None and not self.text.strip()


class Replies:
    """What the documents of a scored task were answered, each request once."""

    def __init__(self, task: Task, ledger: Ledger) -> None:
        self._task = task
        self._documents: dict[int, dict[Key, _Reply]] = {}
        for instance in task.instances:
            is_text = instance.request_type == RequestKind.GENERATE
            replies = self._documents.setdefault(instance.doc_id, {})
            for key, value, note in ledger.replies(instance):
                replies[key] = _Reply(note, str(value) if is_text else None)

    def flags(self, samples: Sequence[int] | None) -> dict[int, tuple[bool | None, bool | None]]:
        """For each document, as users number them: whether an answer was truncated, and whether one is empty."""
        return {
            samples[doc_id] if samples else doc_id: (
                _any(reply.is_truncated for reply in replies.values()),
                any(reply.is_empty for reply in replies.values()),
            )
            for doc_id, replies in self._documents.items()
        }

    def quality(self, left_out: int, generated: Callable[[Mapping[str, Any]], int]) -> QualityTold:
        """The counts; `generated` says how many tokens some settings let a text have."""
        replies = list({key: reply for of in self._documents.values() for key, reply in of.items()}.values())
        limits = {generated(json.loads(text)) for text in settings_of(self._task.instances)}
        return QualityTold(
            documents=len(self._documents) + left_out,
            documents_left_out=left_out,
            requests=len(replies),
            requests_not_known=sum(not reply.is_known for reply in replies),
            prompts_cut=_count([reply.is_cut for reply in replies]),
            answers=sum(reply.text is not None for reply in replies),
            answers_truncated=_count([reply.is_truncated for reply in replies]),
            answers_empty=sum(reply.is_empty for reply in replies),
            max_gen_toks=limits.pop() if len(limits) == 1 else None,
            filter_found_nothing=self._lost(),
        )

    def _lost(self) -> dict[str, int]:
        """By filter; filters may be the task's own code, which harms nothing here."""
        lost: dict[str, int] = {}
        for pipeline in getattr(self._task, "_filters", None) or ():
            with caught(lambda error: _log.warning("a filter cannot be judged: %s", said(error))):
                if signs := _signs(pipeline.filters):
                    lost[sayable(str(pipeline.name))] = _found_nothing(
                        self._task.instances, pipeline.name, signs
                    )
        return lost


def _any(values: Iterable[bool | None]) -> bool | None:
    """None where it depends on what is not known."""
    told = set(values)
    return True if True in told else None if None in told else False


def _count(values: Collection[bool | None]) -> int | None:
    """How many at least; None where that is none, and some are not known."""
    return sum(value is True for value in values) or (None if None in values else 0)


def _signs(filters: Iterable[Callable[[], Any]]) -> list[Any]:
    """What a pipeline gives where it finds nothing: lm-eval's regular expressions and maps have a value for that.

    No other filter is made for it: a task's own may load what it likes.
    """
    signs: list[Any] = []
    for made in (make() for make in filters if _searches(make)):
        sign = getattr(made, "fallback", None)
        if hasattr(made, "mapping_dict") and made.default_value not in made.mapping_dict.values():
            signs.append(made.default_value)
        if sign is not None:
            signs += [sign, *([sign.lower(), sign.upper()] if isinstance(sign, str) else [])]
    return signs


def _searches(make: Callable[[], Any]) -> bool:
    kind = getattr(make, "func", None)
    return isinstance(kind, type) and issubclass(kind, (RegexFilter, POSFilter, MapFilter))


def _found_nothing(instances: Iterable[Instance], name: str, signs: Sequence[Any]) -> int:
    """Documents of whose answers each came to nothing."""
    fruitless: dict[int, bool] = {}
    for instance in instances:
        value = instance.filtered_resps[name]
        several = value if isinstance(value, list) and value and value not in signs else [value]
        nothing = all(each in signs for each in several)
        fruitless[instance.doc_id] = fruitless.get(instance.doc_id, True) and nothing
    return sum(fruitless.values())
