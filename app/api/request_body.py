"""Bodies: JSON in, or a job as YAML or a command; what a call of them may answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel

from app.api.problems import component
from app.errors import BusyError, FaultyField, InvalidRequestError
from app.posting.job_body import JobIn
from app.posting.written import from_json, from_yaml, keepable
from app.web.deps import ServicesDep
from app.web.problems import MalformedJsonError, NotJsonError, TooLargeError, TooSlowError

BODY_PROBLEMS = (MalformedJsonError, NotJsonError, TooLargeError, TooSlowError, BusyError)
"""What a call that takes a body may answer."""

YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
TEXT = frozenset(
    {"text/plain", "text/x-shellscript", "text/x-sh", "application/x-sh", "application/x-shellscript"}
)
MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 60.0


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
    return keepable(fields)


def _object(sent: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    try:
        text = sent.decode(json.detect_encoding(sent), "surrogatepass")
    except ValueError as error:
        raise MalformedJsonError(f"the body is not JSON: {error}") from error
    body = from_json(text)
    if not _is_json(headers.get("content-type", "")):
        raise NotJsonError("send JSON with the header `Content-Type: application/json`")
    if not isinstance(body, dict):
        raise InvalidRequestError([FaultyField("", "the body must be a JSON object")])
    return keepable(body)


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


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")
