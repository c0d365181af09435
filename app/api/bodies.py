"""Bodies: JSON in, every fault of shape out, in words."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from difflib import get_close_matches
from email.message import Message
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.api.problems import MalformedJsonError, NotJsonError, TooLargeError, TooSlowError, in_words
from app.domain.storable import unstorable
from app.errors import FaultyField, InvalidRequestError

MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 60.0
INT64_DIGITS = 20


async def json_object(request: Request) -> dict[str, Any]:
    """The body, which must be one JSON object of text that Postgres can keep."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise NotJsonError("send the body as it is: it is not decompressed here")
    try:
        body = json.loads(await _read(request), parse_constant=_refuse, parse_int=_whole)
    except RecursionError as error:
        raise MalformedJsonError("the body is nested too deeply") from error
    except ValueError as error:
        raise MalformedJsonError(f"the body is not JSON: {error}") from error
    if not _is_json(request.headers.get("content-type", "")):
        raise NotJsonError("send JSON with the header `Content-Type: application/json`")
    if not isinstance(body, dict):
        raise InvalidRequestError([FaultyField("", "the body must be a JSON object")])
    if faults := list(unstorable(body, "")):
        raise InvalidRequestError(faults)
    return body


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


JsonObject = Annotated[dict[str, Any], Depends(json_object)]


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a body read by `json_object`."""
    schema = model.model_json_schema()
    examples = schema.pop("examples", [])
    named = {f"example_{number}": {"value": value} for number, value in enumerate(examples, 1)}
    content = {"application/json": {"schema": schema, "examples": named}}
    return {"requestBody": {"required": True, "content": content}}


def shape_faults(model: type[BaseModel], fields: Mapping[str, Any]) -> list[FaultyField]:
    """Every field whose type is wrong or whose name is unknown; a union that fails is one fault."""
    try:
        model.model_validate(fields)
    except ValidationError as error:
        by_path: dict[str, list[ErrorDetails]] = {}
        for detail in error.errors():
            by_path.setdefault(_path(detail["loc"], fields), []).append(detail)
        deepest = [path for path in by_path if not any(other.startswith(f"{path}.") for other in by_path)]
        return [_fault(path, by_path[path], model) for path in deepest]
    return []


def root(fault: FaultyField) -> str:
    """The top-level field of a fault."""
    return fault.path.partition(".")[0]


def _fault(path: str, details: list[ErrorDetails], model: type[BaseModel]) -> FaultyField:
    if any(detail["type"] == "extra_forbidden" for detail in details):
        near = get_close_matches(path, model.model_fields, n=3)
        return FaultyField(path, "there is no such field", tuple(near or model.model_fields))
    return FaultyField(path, in_words(detail["msg"] for detail in details))


def _path(location: tuple[int | str, ...], fields: Mapping[str, Any]) -> str:
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
    return ".".join(parts)


def _is_json(content_type: str) -> bool:
    message = Message()
    message["content-type"] = content_type
    return message.get_content_type() == "application/json" or content_type.partition(";")[0].endswith(
        "+json"
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _whole(digits: str) -> int | float:
    """A whole number; one that no 64 bits hold is no finite number, whatever it would take to read it."""
    return int(digits) if len(digits) <= INT64_DIGITS else math.inf
