"""Bodies: JSON in, every fault of shape out, in words."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import chain, islice
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from app.api.problems import component
from app.api.schemas.submission import JobIn
from app.arguments.plain_yaml import plain_yaml
from app.domain.storable import unstorable
from app.errors import BusyError, FaultyField, InvalidRequestError
from app.web.deps import ServicesDep
from app.web.problems import MalformedJsonError, NotJsonError, TooLargeError, TooSlowError, in_words
from app.workloads.lm_eval.command.flags import BY_NAME

BODY_PROBLEMS = (MalformedJsonError, NotJsonError, TooLargeError, TooSlowError, BusyError)
"""What a call that takes a body may answer."""

YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
TEXT = frozenset(
    {"text/plain", "text/x-shellscript", "text/x-sh", "application/x-sh", "application/x-shellscript"}
)
SETTINGS = "settings.yaml"
"""What a body of lm-eval's settings is called, as a file that a command names."""
MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 60.0
INT64_DIGITS = 20
MOST_PARTS = 200_000
"""Each is looked at some ten times before a job is stored; all documents of lm-eval's largest tasks are fewer."""
_PART = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,:\[{]', re.DOTALL)
_NEAR_FAULTS = 5
"""Unknown fields that are told what is near."""


@dataclass(frozen=True)
class Body:
    """A JSON object that was posted, and how large it was."""

    fields: dict[str, Any]
    size_bytes: int


async def json_object(request: Request, services: ServicesDep) -> Body:
    """The body, which must be one JSON object of text that Postgres can keep."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise NotJsonError("send the body as it is: it is not decompressed here")
    sent = await _read(request)
    fields = await services.turns.take(len(sent), partial(_object, sent, request.headers))
    return Body(fields, len(sent))


async def job_object(request: Request, services: ServicesDep) -> Body:
    """The same of a job, which may also be YAML, or a command as text."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise NotJsonError("send the body as it is: it is not decompressed here")
    sent = await _read(request)
    fields = await services.turns.take(len(sent), partial(_job, sent, request.headers))
    return Body(fields, len(sent))


def _job(sent: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    looks_like_json = sent.lstrip()[:1] == b"{"
    if kind not in YAML and (kind not in TEXT or looks_like_json):
        return _object(sent, headers)
    try:
        text = sent.decode("utf-8-sig")
        fields = from_yaml(text) if kind in YAML else {"command": text}
    except ValueError as error:
        words = "is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise MalformedJsonError(f"the body {words}") from error
    return _keepable(fields)


def from_yaml(text: str) -> dict[str, Any]:
    """A job that was written as YAML: fields of this call, or lm-eval's settings, or both; ValueError."""
    found = plain_yaml(text)
    settings = {name: value for name, value in found.items() if name not in JobIn.model_fields}
    if not settings.keys() & BY_NAME.keys():
        return found
    own = {name: value for name, value in found.items() if name not in settings}
    return {"command": f"lm_eval run --config {SETTINGS}", "files": {SETTINGS: settings}} | own


def _object(sent: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    try:
        text = sent.decode(json.detect_encoding(sent), "surrogatepass")
        _refuse_many_parts(text)
        body = json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse, parse_int=_whole)
    except RecursionError as error:
        raise MalformedJsonError("the body is nested too deeply") from error
    except ValueError as error:
        raise MalformedJsonError(f"the body is not JSON: {error}") from error
    if not _is_json(headers.get("content-type", "")):
        raise NotJsonError("send JSON with the header `Content-Type: application/json`")
    if not isinstance(body, dict):
        raise InvalidRequestError([FaultyField("", "the body must be a JSON object")])
    return _keepable(body)


def _keepable(body: dict[str, Any]) -> dict[str, Any]:
    faults = unstorable(body, "")
    if first := next(faults, None):
        raise InvalidRequestError(chain([first], faults))
    return body


def _refuse_many_parts(text: str) -> None:
    """TooLargeError where it takes long to look at every part; tells before a part is made, and stops there."""
    if sum(1 for _ in islice(_PART.finditer(text), MOST_PARTS + 1)) > MOST_PARTS:
        raise TooLargeError(f"a body has at most {MOST_PARTS} texts, commas, colons and brackets")


async def _read(request: Request) -> bytes:
    """The whole body, unless it is larger than any job or never ends: then no more of it is read."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    raise TooLargeError(f"a body has at most {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise TooSlowError(f"the body did not arrive within {BODY_SECONDS:.0f} s: send it again") from None
    return bytes(body)


JsonObject = Annotated[Body, Depends(json_object)]
JobObject = Annotated[Body, Depends(job_object)]


def request_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """OpenAPI's description of a body read by `json_object`: a component, by its name, with its examples."""
    examples = model.model_json_schema().get("examples", [])
    named = {f"example_{number}": {"value": value} for number, value in enumerate(examples, 1)}
    schema = component(model)
    content: dict[str, Any] = {"application/json": {"schema": schema, "examples": named}}
    if model is JobIn:
        content["application/yaml"] = {"schema": schema}
        content["text/plain"] = {
            "schema": {"type": "string", "description": "A command, or a script with one."}
        }
    return {"requestBody": {"required": required, "content": content}}


def shape_faults(model: type[BaseModel], fields: Mapping[str, Any]) -> list[FaultyField]:
    """Every field whose type is wrong or whose name is unknown; a union that fails is one fault."""
    known = {name: value for name, value in fields.items() if name in model.model_fields}
    unknown = [name for name in fields if name not in model.model_fields]
    return [
        *_type_faults(model, known),
        *(_unknown(name, model, near=at < _NEAR_FAULTS) for at, name in enumerate(unknown)),
    ]


def _type_faults(model: type[BaseModel], fields: Mapping[str, Any]) -> list[FaultyField]:
    try:
        model.model_validate(fields)
    except ValidationError as error:
        said: dict[tuple[str, ...], list[str]] = {}
        for detail in error.errors(include_url=False, include_input=False, include_context=False):
            said.setdefault(_place(detail["loc"], fields), []).append(detail["msg"])
        above = {place[:length] for place in said for length in range(len(place))}
        return [
            FaultyField(".".join(place), in_words(messages))
            for place, messages in said.items()
            if place not in above
        ]
    return []


def root(fault: FaultyField) -> str:
    """The top-level field of a fault."""
    return fault.path.partition(".")[0]


def _unknown(name: str, model: type[BaseModel], *, near: bool) -> FaultyField:
    alike = get_close_matches(name, model.model_fields, n=3) or model.model_fields if near else ()
    return FaultyField(name, "there is no such field", tuple(alike) or None)


def _place(location: tuple[int | str, ...], fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The part of a Pydantic location that exists in the body: the rest names members of a union."""
    parts: list[str] = []
    here: Any = fields
    for step in location:
        if isinstance(here, Mapping) and (step in here or not parts):
            here = here.get(step)
        elif isinstance(here, list) and isinstance(step, int):
            here = here[step]
        else:
            continue
        parts.append(str(step))
    return tuple(parts)


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _whole(digits: str) -> int:
    """A whole number; of those that no 64 bits hold one stands for all, whatever it would take to read it."""
    return int(digits[: INT64_DIGITS + 1])
