"""Documents without an answer: left out of their task's score, and told one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from lm_eval.utils import handle_non_serializable, hash_string

from workers.harness_child.lm_eval.writing import sample_line
from workers.protocol.harness import FailureTold

NAMED_DOCUMENTS = 10


@dataclass(frozen=True)
class Gaps:
    """What is missing in a task: documents with a request that no engine could answer."""

    task: str
    documents: int
    """All documents of the task, answered or not."""
    failed: Mapping[int, FailureTold]
    """By document, as users number them, each with its first reason."""
    lines: list[str]
    """A sample line for each failed document, with `evalq_error` where its metrics would be."""

    @property
    def whole(self) -> bool:
        """Whether no document is left to score."""
        return len(self.failed) == self.documents

    @property
    def fault(self) -> FailureTold:
        """The task's: which documents, and the first reason."""
        named = ", ".join(map(str, list(self.failed)[:NAMED_DOCUMENTS]))
        more = ", ..." if len(self.failed) > NAMED_DOCUMENTS else ""
        first = next(iter(self.failed.values()))
        count = f"{len(self.failed)} of {self.documents}"
        message = f"no answer for document {named}{more} ({count}): {first.message}"
        return FailureTold(first.code, message)

    @property
    def warning(self) -> str:
        """What a reader of the scores must know."""
        scored = self.documents - len(self.failed)
        return f"task {self.task} is scored on {scored} of {self.documents} documents: {self.fault.message}"


def leave_out(
    name: str, task: Task, failed: Mapping[int, FailureTold], samples: Sequence[int] | None = None
) -> Gaps:
    """Let lm-eval score a built task as if it had only its answered documents.

    `failed` bears the numbers of the task's instances; where the job chose `samples`, those are places in it.
    """
    by_document: dict[int, list[Instance]] = {}
    for instance in task.instances:
        by_document.setdefault(instance.doc_id, []).append(instance)
    numbers = {doc_id: samples[doc_id] if samples else doc_id for doc_id in sorted(failed)}
    gaps = Gaps(
        name,
        len(by_document),
        {number: failed[doc_id] for doc_id, number in numbers.items()},
        [_line(task, number, by_document[doc_id], failed[doc_id]) for doc_id, number in numbers.items()],
    )
    answered = task.doc_iterator
    task.doc_iterator = lambda **which: (pair for pair in answered(**which) if pair[0] not in failed)
    task._instances = [instance for instance in task.instances if instance.doc_id not in failed]
    return gaps


def _line(task: Task, number: int, instances: Sequence[Instance], fault: FailureTold) -> str:
    asked = sorted(instances, key=lambda instance: instance.idx)
    doc, target = asked[0].doc, task.doc_to_target(asked[0].doc)
    text = json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
    row: dict[str, Any] = {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": [instance.args for instance in asked],
        "resps": [],
        "filtered_resps": [],
        "filter": "none",
        "metrics": [],
        "doc_hash": hash_string(text),
        "prompt_hash": hash_string(asked[0].arguments[0]),
        "target_hash": hash_string(str(target)),
        "evalq_error": {"code": fault.code, "message": fault.message},
    }
    return sample_line(row)
