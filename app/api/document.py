"""The OpenAPI document: FastAPI's, with names that generated clients can use and what no endpoint returns by type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.api.schemas.cancelling import CancelIn
from app.api.schemas.events import EventMessage
from app.api.schemas.problem import ProblemOut
from app.api.schemas.submission import JobPatch
from app.posting.job_body import JobIn
from app.web.callers import OPEN, SECURITY_SCHEME

REF = "#/components/schemas/{model}"
_UNSEEN: Mapping[str, type[BaseModel]] = {
    "Problem": ProblemOut,
    "JobIn": JobIn,
    "JobPatch": JobPatch,
    "CancelIn": CancelIn,
    "EventMessage": EventMessage,
}
"""What is written or read beside the framework, by the name that it has in the document."""

_HEADERS: Mapping[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "Of this request, the client's own where it sent one; the server's log lines name it.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}},
    "Location": {"description": "The path of the job.", "schema": {"type": "string"}},
    "Link": {
        "description": 'The first page, and the next where there is one: `<...>; rel="next"`.',
        "required": True,
        "schema": {"type": "string"},
    },
}
"""What clients go by beside the body."""


def operation_id(route: APIRoute) -> str:
    """What generated clients call it: the name of its function, which no other has."""
    return route.name


def document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _made(app)
    return app.openapi_schema


def _made(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    components = made["components"]
    components["schemas"] = _unseen() | components["schemas"]
    components["headers"] = dict(_HEADERS)
    for operation in (each for path in made["paths"].values() for each in path.values()):
        for status, answer in operation["responses"].items():
            answer["headers"] = {name: _header(name) for name in _sent(operation, int(status))}
    components["securitySchemes"] = {"key": SECURITY_SCHEME}
    made["security"] = [{"key": []}, {}]
    for path in OPEN & made["paths"].keys():
        made["paths"][path]["get"]["security"] = []
    return made


def _unseen() -> dict[str, Any]:
    """The components that the framework does not know, and what they are made of.

    Without defaults: a client that fills them in would overrule the command that it posts, or the name of a job of
    which it changes the tags.
    """
    found: dict[str, Any] = {}
    for name, model in _UNSEEN.items():
        schema = model.model_json_schema(ref_template=REF)
        found |= schema.pop("$defs", {}) | {name: schema}
    for schema in found.values():
        for field in schema.get("properties", {}).values():
            field.pop("default", None)
    return found


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _sent(operation: Mapping[str, Any], status: int) -> Iterator[str]:
    """The headers of an answer that clients go by."""
    yield "X-Request-Id"
    if status in {429, 503}:
        yield "Retry-After"
    if status < 300 and operation["operationId"] == "submit_job":
        yield "Location"
    if status < 300 and any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ())):
        yield "Link"
