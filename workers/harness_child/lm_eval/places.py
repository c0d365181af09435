"""Where in a task an error came from, read off its traceback: lm-eval 0.4.13's own frames tell it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

_TASK = "lm_eval.api.task"
_SPLITS = frozenset({"test_docs", "validation_docs", "training_docs", "fewshot_docs"})
# fmt: off
_PARTS = _SPLITS | {
    "download", "doc_to_text", "doc_to_target", "doc_to_choice", "doc_to_prefix", "fewshot_context",
    "construct_requests", "process_results",
}
# fmt: on


@dataclass(frozen=True)
class Place:
    """Which part of a task was at work, and on which document."""

    part: str | None = None
    document: int | None = None

    def __str__(self) -> str:
        document = f"document {self.document}" if self.document is not None else None
        return ", ".join(filter(None, (document, self.part)))


def place(error: BaseException, samples: Sequence[int] | None = None) -> Place:
    """The innermost part, and the document's own number where the job chose `samples`."""
    found = Place()
    for frame in _frames(error):
        found = _closer(found, frame, samples)
    return found


def data_fault(error: BaseException) -> str | None:
    """What is wrong with a task's data, where the error itself says it in the words of a library."""
    frames = _frames(error)
    own = [number for number, frame in enumerate(frames) if _module(frame) == _TASK]
    if not own:
        return None
    frame = frames[own[-1]]
    below = frames[own[-1] + 1 :]
    if isinstance(error, KeyError) and frame.f_code.co_name in _SPLITS and all(map(_of_datasets, below)):
        asked = below[-1].f_locals.get("k", error.args[0]) if below else error.args[0]
        return _missing_split(asked, getattr(frame.f_locals.get("self"), "dataset", None))
    if frame.f_code.co_name == "__init__":
        return _fault_of_documents(frame.f_locals.get("self"))
    return None


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _of_datasets(frame: FrameType) -> bool:
    return _module(frame).partition(".")[0] == "datasets"


def _closer(found: Place, frame: FrameType, samples: Sequence[int] | None) -> Place:
    module, name, seen = _module(frame), frame.f_code.co_name, frame.f_locals
    part, document = found.part, found.document
    match module, name:
        case "lm_eval.api.task", "build_all_requests":
            document = _number(seen.get("doc_id"), samples)
        case "lm_eval.api.task", _ if name in _PARTS:
            part = name
        case "lm_eval.evaluator", "evaluate":
            document = seen.get("doc_id_true")
        case "lm_eval.evaluator_utils", "_compute_task_aggregations":
            part, document = f"aggregation of {seen.get('metric')}", None
        case "lm_eval.evaluator_utils", _:
            document = None
        case "lm_eval.api.filter", "apply":
            part = f"filter {getattr(seen.get('self'), 'name', '')}"
    return Place(part, document)


def _number(doc_id: Any, samples: Sequence[int] | None) -> int | None:
    return samples[doc_id] if samples and isinstance(doc_id, int) else doc_id


def _missing_split(split: object, dataset: object) -> str:
    if not isinstance(dataset, Mapping):
        return f"the dataset has no split {split!r}: it is a {type(dataset).__name__}, without splits"
    return f"the dataset has no split {split!r}; it has: {', '.join(map(str, dataset)) or 'none'}"


def _fault_of_documents(task: Any) -> str | None:
    """lm-eval looks at the first of a task's documents as soon as it has them."""
    if "task_docs" not in vars(task):
        return None
    documents, process = task.task_docs, task.config.process_docs
    if not hasattr(documents, "features"):
        given = "nothing" if documents is None else f"a {type(documents).__name__}"
        return f"process_docs gave {given}, not a datasets.Dataset" if process else None
    if len(documents):
        return None
    split = task.config.test_split or task.config.validation_split
    if process:
        return f"did not find any docs: process_docs left none of {len(task.dataset[split])}"
    return f"did not find any docs: split {split!r} is empty"
