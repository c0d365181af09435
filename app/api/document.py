"""The OpenAPI document: FastAPI's, with names that generated clients can use and what no endpoint returns by type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.api.schemas.cancelling import CancelIn
from app.api.schemas.events import EventMessage
from app.api.schemas.problem import ProblemOut
from app.api.schemas.submission import JobIn, JobPatch
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
