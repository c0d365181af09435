"""Errors as people hear of them: one table from error to status, and what every one says, in whatever form."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, TypeAlias

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app import errors
from app.domain.plan import Plan
from app.domain.redaction import redact
from app.errors import EvalqError, FaultyField, InvalidJobError, InvalidRequestError

log = logging.getLogger(__name__)

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


class NotAcceptableError(EvalqError):
    """There is no answer of a kind that the client reads."""

    code = "not_acceptable"


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
    NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    TooSlowError: HTTPStatus.REQUEST_TIMEOUT,
    TooLargeError: HTTPStatus(413),
    NotJsonError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.InvalidRequestError: HTTPStatus(422),
    errors.InvalidJobError: HTTPStatus(422),
    errors.IdempotencyConflictError: HTTPStatus(422),
    errors.TooManyRequestsError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.QuotaExceededError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyStreamsError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TookTooLongError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DatabaseUnreachableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.BrokerUnreachableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


ANYWHERE: tuple[type[EvalqError], ...] = (
    UnknownParameterError,
    KeyInUrlError,
    InvalidRequestError,
    NotAcceptableError,
    errors.UnauthenticatedError,
    errors.ForbiddenError,
    errors.CrossSiteError,
    errors.TooManyRequestsError,
    errors.DatabaseUnreachableError,
)
"""What every call may answer."""


@dataclass(frozen=True)
class Problem:
    """What somebody hears of an error; it repeats no secret of what was sent, and is no longer than anybody reads."""

    status: int
    code: str
    title: str
    detail: str
    faults: tuple[FaultyField, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    plan: Plan | None = None
    """Of a job that was refused."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", _safe(self.detail, MOST_CHARACTERS))
        object.__setattr__(self, "faults", tuple(map(shown, self.faults)))


def shown(fault: FaultyField) -> FaultyField:
    """A fault as it may be shown."""
    allowed = tuple(cut(name, MOST_SHOWN) for name in (fault.allowed or ())[:MOST_ALLOWED])
    path, message = _safe(fault.path, MOST_SHOWN), _safe(fault.message, MOST_CHARACTERS)
    return replace(fault, path=path, message=message, allowed=allowed or None)


def cut(text: str, most: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= most else f"{text[:most]}..."


def _safe(text: str, most: int) -> str:
    """Without secrets and short; read a little further than shown, so that half a secret is none that is left."""
    return cut(redact(text[: 2 * most]), most)


def problem_of(error: EvalqError) -> Problem:
    """What an error raised on purpose says; one without a place in the table is ours: 500."""
    status = STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
    faults = tuple(error.faults) if isinstance(error, InvalidRequestError) else ()
    plan = shown_plan(error) if isinstance(error, InvalidJobError) else None
    return Problem(status, error.code, title(type(error)), str(error), faults, _headers(error), plan)


def shown_plan(error: InvalidJobError) -> Plan | None:
    """The plan of a job that was refused, as it may be shown."""
    plan = error.plan
    if not isinstance(plan, Plan):
        return None
    return replace(plan, explanation=tuple(_safe(line, MOST_CHARACTERS) for line in plan.explanation))


def _headers(error: EvalqError) -> Mapping[str, str]:
    match error:
        case errors.UnauthenticatedError():
            return {"WWW-Authenticate": 'Bearer realm="evalq"'}
        case errors.TooManyRequestsError():
            return {"Retry-After": str(error.retry_after_seconds)}
        case _:
            return {}


def title(kind: type[EvalqError]) -> str:
    """The kind of an error, in words."""
    return (kind.__doc__ or kind.__name__).partition(".")[0].partition(";")[0]


Answer: TypeAlias = Callable[[Request, Problem], Response]


def add_handlers(app: FastAPI, answer: Answer) -> None:
    """Every error leaves the service as a problem, those of the framework included; `answer` gives it its form."""
    kinds: dict[type[Exception], Callable[[Request, Any], Problem]] = {
        EvalqError: _of_evalq,
        RequestValidationError: _of_parameters,
        HTTPException: _of_http,
        errors.DatabaseUnreachableError: _of_outage,
        ClientDisconnect: _of_disconnect,
        Exception: _of_surprise,
    }
    for kind, told in kinds.items():
        app.add_exception_handler(kind, _handler(told, answer))


def _handler(
    told: Callable[[Request, Any], Problem], answer: Answer
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        return answer(request, told(request, error))

    return handle


def _of_evalq(_: Request, error: EvalqError) -> Problem:
    return problem_of(error)


def _of_parameters(_: Request, error: RequestValidationError) -> Problem:
    faults = [
        FaultyField(".".join(map(str, fault["loc"])), in_words([fault["msg"]]), _allowed(fault))
        for fault in error.errors()
    ]
    return problem_of(InvalidRequestError(faults))


def in_words(messages: Iterable[str]) -> str:
    """What Pydantic says of one value, without what it calls the value."""
    said = dict.fromkeys(_SUBJECT.sub("", message).removeprefix("be ") for message in messages)
    says = " or ".join(said).replace(" after validation", "")
    return f"should {says}" if says.startswith(("have ", "match ")) else f"should be {says}"


def _allowed(fault: Mapping[str, Any]) -> tuple[str, ...] | None:
    expected = fault.get("ctx", {}).get("expected")
    return tuple(expected.replace("' or '", "', '").strip("'").split("', '")) if expected else None


def _of_http(request: Request, error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_possible(request))
    detail = _way_out(request, error, headers) or error.detail
    return Problem(status, status.name.lower(), status.phrase, detail, headers=headers)


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


def _of_outage(_: Request, error: errors.DatabaseUnreachableError) -> Problem:
    log.error("%s", error)
    kind, detail = type(error), "the database does not answer; ask again in a moment"
    return Problem(STATUS[kind], kind.code, title(kind), detail, headers={"Retry-After": "5"})


def _of_disconnect(_: Request, __: ClientDisconnect) -> Problem:
    """Nobody reads it: the client went away in the middle of its body."""
    return problem_of(MalformedJsonError("the body is not whole"))


def _of_surprise(_: Request, error: Exception) -> Problem:
    log.error("an unforeseen error", exc_info=error)
    detail = "an unforeseen error; the server's log has the traceback"
    return Problem(500, "internal", "Internal Server Error", detail)
