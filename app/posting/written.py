"""Jobs as they are written: JSON, YAML, or a command, as the fields that they say."""

from __future__ import annotations

import json
import re
from itertools import chain, islice
from typing import Any

from app.arguments.plain_yaml import looks_like_yaml, plain_yaml
from app.domain.storable import unstorable
from app.errors import FaultyField, InvalidRequestError
from app.posting.job_body import JobIn
from app.web.problems import MalformedJsonError, TooLargeError
from app.workloads.lm_eval.command.flags import BY_NAME

SETTINGS = "settings.yaml"
"""What a body of lm-eval's settings is called, as a file that a command names."""
INT64_DIGITS = 20
MOST_PARTS = 200_000
"""Each is looked at some ten times before a job is stored; all documents of lm-eval's largest tasks are fewer."""
_PART = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,:\[{]', re.DOTALL)


def from_text(text: str) -> dict[str, Any]:
    """A job as somebody pastes it; its beginning tells whether it is JSON, YAML, or a command or a script."""
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        return _only_object(from_json(text))
    if not looks_like_yaml(text):
        return {"command": text}
    try:
        return from_yaml(text)
    except ValueError as error:
        raise MalformedJsonError(f"the text {error}") from error


def from_yaml(text: str) -> dict[str, Any]:
    """A job that was written as YAML: fields of this call, or lm-eval's settings, or both; ValueError."""
    found = plain_yaml(text)
    settings = {name: value for name, value in found.items() if name not in JobIn.model_fields}
    if not settings.keys() & BY_NAME.keys():
        return found
    own = {name: value for name, value in found.items() if name not in settings}
    return {"command": f"lm_eval run --config {SETTINGS}", "files": {SETTINGS: settings}} | own


def from_json(text: str) -> Any:
    """What a text of JSON holds; MalformedJsonError, TooLargeError before a part of too many is made."""
    try:
        _refuse_many_parts(text)
        return json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse, parse_int=_whole)
    except RecursionError as error:
        raise MalformedJsonError("the body is nested too deeply") from error
    except ValueError as error:
        raise MalformedJsonError(f"the body is not JSON: {error}") from error


def _only_object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidRequestError([FaultyField("", "the body must be a JSON object")])
    return body


def keepable(body: dict[str, Any]) -> dict[str, Any]:
    """The same, which must be text that Postgres can keep."""
    faults = unstorable(body, "")
    if first := next(faults, None):
        raise InvalidRequestError(chain([first], faults))
    return body


def _refuse_many_parts(text: str) -> None:
    """TooLargeError where it takes long to look at every part; tells before a part is made, and stops there."""
    if sum(1 for _ in islice(_PART.finditer(text), MOST_PARTS + 1)) > MOST_PARTS:
        raise TooLargeError(f"a body has at most {MOST_PARTS} texts, commas, colons and brackets")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _whole(digits: str) -> int:
    """A whole number; of those that no 64 bits hold one stands for all, whatever it would take to read it."""
    return int(digits[: INT64_DIGITS + 1])
