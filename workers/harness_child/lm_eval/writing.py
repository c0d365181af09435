"""JSON as lm-eval writes it, of whatever a task gives: what no reader could read again fails its task."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.utils import handle_non_serializable, sanitize_list

from workers.harness_child.errors import TASK_ERROR, TaskFailedError, caught, said
from workers.protocol.harness import SampleTold

MOST_CHARACTERS = 64 << 20
"""Of a sample or a task's metrics; a message of all samples of a task may be longer than Postgres takes."""

DEEPEST = 100

PORTION_ROWS = 500
PORTION_CHARACTERS = 8 << 20

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


def written(value: object, what: str, indent: int | None = None) -> str:
    """The text of a value; TaskFailedError names `what` cannot be written.

    Half a surrogate pair, at which lm-eval gives up, is escaped.
    """

    def failed(error: BaseException) -> None:
        raise TaskFailedError(TASK_ERROR, f"{what} cannot be written as JSON: {said(error)}") from error

    sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)  # task code may have taken it away
    text = ""
    with caught(failed):
        text = json.dumps(value, indent=indent, default=handle_non_serializable, ensure_ascii=False)
    if _depth(text) > DEEPEST:
        raise TaskFailedError(TASK_ERROR, f"{what} is nested more than {DEEPEST} levels deep")
    return _HALF_PAIR.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def written_short(value: object, what: str) -> str:
    """Likewise, and no longer than what is kept as one row."""
    text = written(value, what)
    if len(text) > MOST_CHARACTERS:
        raise TaskFailedError(TASK_ERROR, f"{what} takes {len(text)} characters, at most {MOST_CHARACTERS}")
    return text


def sample_line(sample: dict[str, Any]) -> str:
    """A sample as EvaluationTracker.save_results_samples writes it, without the line's end."""
    arguments = {
        f"gen_args_{i}": {f"arg_{j}": value for j, value in enumerate(args)}
        for i, args in enumerate(sample["arguments"])
    }
    row = sample | {
        "resps": sanitize_list(sample["resps"]),
        "filtered_resps": sanitize_list(sample["filtered_resps"]),
        "arguments": arguments,
        "target": str(sample["target"]),
    }
    what = f"document {sample['doc_id']}"
    try:
        return written_short(row, what)
    except TaskFailedError:
        for name, value in row.items():
            written_short({name: value}, f"{name} of {what}")
        raise


def portions(rows: Sequence[SampleTold]) -> Iterator[list[SampleTold]]:
    """The rows in runs that a message carries."""
    portion: list[SampleTold] = []
    size = 0
    for row in rows:
        if portion and (len(portion) == PORTION_ROWS or size + len(row.line) > PORTION_CHARACTERS):
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += len(row.line)
    if portion:
        yield portion


def _depth(text: str) -> int:
    """How deep a JSON text is nested, or a small number where it is not deep."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return 0
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", _TEXT.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest
