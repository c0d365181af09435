"""What can be asked of an engine: text and settings; whatever else a task makes fails it, by document and field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgpack
from lm_eval.api.instance import Instance

from workers.harness_child.errors import TASK_ERROR, TaskFailedError, said
from workers.protocol.payload import RequestKind

TEXTS = {
    RequestKind.LOGLIKELIHOOD.value: (
        "context (doc_to_text)",
        "continuation (doc_to_target or doc_to_choice)",
    ),
    RequestKind.ROLLING.value: ("text (doc_to_target)",),
    RequestKind.GENERATE.value: ("context (doc_to_text)",),
}
"""The texts of each kind of request, with what makes them in a task that is only YAML."""

MOST_REQUESTS = 20_000_000
"""Of one task: more take more memory than a host has."""


def check(instances: Sequence[Instance], samples: Sequence[int] | None) -> None:
    """TaskFailedError for the first request that cannot be asked; it names a document as the user numbers it."""
    count = 0
    checked: set[int] = set()
    for instance in instances:
        _check_shape(instance)
        document = f"document {samples[instance.doc_id] if samples else instance.doc_id}"
        for field, value in zip(TEXTS.get(instance.request_type, ()), instance.args, strict=False):
            _check_text(value, f"{document}: the {field}")
        if instance.request_type == RequestKind.GENERATE and id(instance.args[-1]) not in checked:
            _check_settings(instance.args[1:], document)
            checked.add(id(instance.args[-1]))
        count += instance.repeats
    if count > MOST_REQUESTS:
        raise _failed(f"it makes {count} requests, at most {MOST_REQUESTS}")


def _check_shape(instance: object) -> None:
    if not isinstance(instance, Instance):
        raise _failed(f"construct_requests gave {_shown(instance)}, not a request")
    for name, value, least in (("repeats", instance.repeats, 1), ("doc_id", instance.doc_id, 0)):
        if type(value) is not int or value < least:
            raise _failed(f"{name} must be a whole number from {least}, not {_shown(value)}")
    if len(instance.args) < len(TEXTS.get(instance.request_type, ())):
        raise _failed(f"a {instance.request_type} request has only {len(instance.args)} arguments")


def _check_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise _failed(f"{what} is {_shown(value)}, not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _failed(f"{what} holds half a surrogate pair at character {error.start}") from error


def _check_settings(given: Sequence[Any], document: str) -> None:
    """They travel as a message and are kept as JSON; an engine must get what the task said."""
    if len(given) != 1 or not isinstance(given[0], dict):
        shown = _shown(given[0]) if given else "nothing"
        raise _failed(f"{document}: generation settings must be a mapping, not {shown}")
    for name, value in given[0].items():
        fault = _fault(value)
        if fault or not isinstance(name, str):
            raise _failed(f"generation_kwargs must be plain values: {name!r:.40} {fault or 'is no text'}")


def _fault(value: object) -> str | None:
    try:
        text = json.dumps(value, allow_nan=False)
        msgpack.packb(value)
    except Exception as error:  # noqa: BLE001 - YAML and task code make any object
        return f"cannot be sent to an engine ({said(error)})"
    return "holds a NUL character" if "\\u0000" in text else None


def _shown(value: object) -> str:
    try:
        return f"{value!r:.40} ({type(value).__name__})"
    except Exception:  # noqa: BLE001 - any class may fail to say what it is
        return f"a {type(value).__name__}"


def _failed(words: str) -> TaskFailedError:
    return TaskFailedError(TASK_ERROR, words)
