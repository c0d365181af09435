"""Errors as RFC 9457 problems: one table from error to status, used by handlers and by OpenAPI alike."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app import errors
from app.domain.redaction import redact
from app.errors import EvalqError, FaultyField, InvalidRequestError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MOST_SHOWN = 200
MOST_CHARACTERS = 2000
MOST_ALLOWED = 100
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST")
_SUBJECT = re.compile(r"^(?:Input|String|List|Value|Dictionary|Value error,) (?:should )?")


class MalformedJsonError(EvalqError):
    """The body is not JSON."""

    code = "malformed_json"


class NotJsonError(EvalqError):
    """The body is not declared as JSON."""

    code = "unsupported_media_type"


class TooLargeError(EvalqError):
    """The body is larger than any job."""

    code = "body_too_large"


class TooSlowError(EvalqError):
    """The body did not arrive in time."""

    code = "body_too_slow"


class UnknownParameterError(InvalidRequestError):
    """A query parameter that this call does not have."""

    code = "unknown_parameter"


class KeyInUrlError(InvalidRequestError):
    """A credential stands in the query of the URL."""

    code = "key_in_url"


STATUS: Mapping[type[EvalqError], HTTPStatus] = {
    MalformedJsonError: HTTPStatus.BAD_REQUEST,
    UnknownParameterError: HTTPStatus.BAD_REQUEST,
    KeyInUrlError: HTTPStatus.BAD_REQUEST,
    errors.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.CrossSiteError: HTTPStatus.FORBIDDEN,
    errors.UnknownJobError: HTTPStatus.NOT_FOUND,
    errors.UnknownTaskError: HTTPStatus.NOT_FOUND,
    errors.UnknownGroupError: HTTPStatus.NOT_FOUND,
    errors.UnknownArtifactError: HTTPStatus.NOT_FOUND,
    errors.NoResultsYetError: HTTPStatus.CONFLICT,
    errors.IllegalMoveError: HTTPStatus.CONFLICT,
    errors.StaleJobError: HTTPStatus.CONFLICT,
    errors.IdempotencyInFlightError: HTTPStatus.CONFLICT,
    TooSlowError: HTTPStatus.REQUEST_TIMEOUT,
    TooLargeError: HTTPStatus(413),
    NotJsonError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.InvalidRequestError: HTTPStatus(422),
    errors.InvalidJobError: HTTPStatus(422),
    errors.IdempotencyConflictError: HTTPStatus(422),
    errors.TooManyRequestsError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.QuotaExceededError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyStreamsError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DatabaseUnreachableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.BrokerUnreachableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


ANYWHERE: tuple[type[EvalqError], ...] = (
    UnknownParameterError,
    KeyInUrlError,
    InvalidRequestError,
    errors.UnauthenticatedError,
    errors.ForbiddenError,
    errors.CrossSiteError,
    errors.TooManyRequestsError,
    errors.DatabaseUnreachableError,
)
"""What every call may answer."""


class Fault(BaseModel):
    """One thing wrong with what was sent."""

    path: str = Field(description="Where: a dotted path into the body, or `query.` and a parameter.")
    message: str
    allowed: list[str] | None = Field(description="What would be right, where that can be listed.")


class Problem(BaseModel):
    """An RFC 9457 problem; `code` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[Fault]


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    faults: Sequence[FaultyField] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer that carries an error; it repeats no secret of what was sent."""
    kind = f"urn:evalq:problem:{code}"
    detail = _safe(detail, MOST_CHARACTERS)
    listed = [fault_out(fault) for fault in faults]
    body = Problem(type=kind, title=title, status=status, detail=detail, code=code, errors=listed)
    content = body.model_dump(mode="json")
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def cut(text: str, most: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= most else f"{text[:most]}..."


def fault_out(fault: FaultyField) -> Fault:
    """A fault as JSON shows it, no longer than anybody reads; it repeats no secret of what was sent."""
    allowed = [cut(name, MOST_SHOWN) for name in (fault.allowed or ())[:MOST_ALLOWED]]
    path, message = _safe(fault.path, MOST_SHOWN), _safe(fault.message, MOST_CHARACTERS)
    return Fault(path=path, message=message, allowed=allowed or None)


def _safe(text: str, most: int) -> str:
    """Without secrets and short; read a little further than shown, so that half a secret is none that is left."""
    return cut(redact(text[: 2 * most]), most)


def from_error(error: EvalqError) -> JSONResponse:
    """An error raised on purpose, as a problem; one without a place in the table is ours: 500."""
    status = STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
    faults = error.faults if isinstance(error, InvalidRequestError) else []
    return problem(
        status, error.code, _title(type(error)), str(error), faults=faults, headers=_headers(error)
    )


def _headers(error: EvalqError) -> Mapping[str, str]:
    match error:
        case errors.UnauthenticatedError():
            return {"WWW-Authenticate": 'Bearer realm="evalq"'}
        case errors.TooManyRequestsError():
            return {"Retry-After": str(error.retry_after_seconds)}
        case _:
            return {}


def _title(kind: type[EvalqError]) -> str:
    return (kind.__doc__ or kind.__name__).partition(".")[0].partition(";")[0]


def problems(*kinds: type[EvalqError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for these errors, and for those that any call may answer."""
    answers: dict[int | str, dict[str, Any]] = {}
    for kind in dict.fromkeys([*kinds, *ANYWHERE]):
        answer = answers.setdefault(int(STATUS[kind]), {"description": "", "content": {MEDIA_TYPE: {}}})
        answer["description"] = " ".join(
            filter(None, [answer["description"], f"`{kind.code}`: {kind.__doc__}"])
        )
        content = answer["content"][MEDIA_TYPE]
        content["schema"] = {"$ref": "#/components/schemas/Problem"}
        content.setdefault("examples", {})[kind.code] = {"value": _example(kind)}
    return answers


def _example(kind: type[EvalqError]) -> dict[str, Any]:
    faults = []
    if issubclass(kind, InvalidRequestError):
        faults = [{"path": "tasks.0", "message": "there is no task gsm8kk", "allowed": ["gsm8k"]}]
    return {
        "type": f"urn:evalq:problem:{kind.code}",
        "title": _title(kind),
        "status": int(STATUS[kind]),
        "detail": "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults) or kind.__doc__,
        "code": kind.code,
        "errors": faults,
    }


def add_handlers(app: FastAPI) -> None:
    """Every error leaves the API as a problem, those of the framework included."""
    app.add_exception_handler(EvalqError, _on_evalq_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameter)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(errors.DatabaseUnreachableError, _on_database_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_surprise)


async def _on_evalq_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EvalqError)  # noqa: S101 - narrows what the framework promises
    return from_error(error)


async def _on_invalid_parameter(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - narrows what the framework promises
    faults = [
        FaultyField(".".join(map(str, fault["loc"])), in_words([fault["msg"]]), _allowed(fault))
        for fault in error.errors()
    ]
    return from_error(InvalidRequestError(faults))


def in_words(messages: Iterable[str]) -> str:
    """What Pydantic says of one value, without what it calls the value."""
    said = dict.fromkeys(_SUBJECT.sub("", message).removeprefix("be ") for message in messages)
    says = " or ".join(said).replace(" after validation", "")
    return f"should {says}" if says.startswith(("have ", "match ")) else f"should be {says}"


def _allowed(fault: Mapping[str, Any]) -> tuple[str, ...] | None:
    expected = fault.get("ctx", {}).get("expected")
    return tuple(expected.replace("' or '", "', '").strip("'").split("', '")) if expected else None


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - narrows what the framework promises
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_possible(request))
    detail = _way_out(request, error, headers) or error.detail
    return problem(status, status.name.lower(), status.phrase, detail, headers=headers)


def _possible(request: Request) -> list[str]:
    """Every method of a path; the framework names those of its first route only."""
    scope = {key: value for key, value in request.scope.items() if key not in {"route", "path_params"}}
    tried = {method: {**scope, "method": method} for method in METHODS}
    routes = request.app.router.routes
    found = {name for name, asked in tried.items() for each in routes if each.matches(asked)[0] is Match.FULL}
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _way_out(request: Request, error: HTTPException, headers: Mapping[str, str]) -> str | None:
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return f"there is nothing at {cut(request.url.path, MOST_SHOWN)}: /docs lists every call"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{request.method[:MOST_SHOWN]} is not possible here, only {headers['Allow']}"
        case _:
            return None


async def _on_database_error(_: Request, error: Exception) -> JSONResponse:
    log.error("%s", error)
    kind = errors.DatabaseUnreachableError
    detail = "the database does not answer; ask again in a moment"
    return problem(STATUS[kind], kind.code, _title(kind), detail, headers={"Retry-After": "5"})


async def _on_disconnect(*_: object) -> JSONResponse:
    """Nobody reads it: the client went away in the middle of its body."""
    return from_error(MalformedJsonError("the body is not whole"))


async def _on_surprise(_: Request, error: Exception) -> JSONResponse:
    log.error("an unforeseen error", exc_info=error)
    detail = "an unforeseen error; the server's log has the traceback"
    return problem(500, "internal", "Internal Server Error", detail)
