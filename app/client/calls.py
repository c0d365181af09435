"""The API as calls: one base URL, one token, problems turned into errors with exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from app.client.exit_codes import CallError, Exit
from app.domain.redaction import redact
from app.domain.visible import hanging, one_line

FULL_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
BEGINNING = re.compile(r"[0-9a-f-]{1,36}")
LAST = "@last"
PAGE = 200
MOST_NAMED = 5
"""Of jobs that a beginning could mean."""
OF_HTTP_STATUS = {
    400: Exit.USAGE,
    401: Exit.NOT_ALLOWED,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_FOUND,
    422: Exit.USAGE,
}

LACKS = "this cluster lacks what the job needs:"
PASSING = {429, 502, 503, 504}

Json = dict[str, Any]


class UnreachableError(CallError):
    """The service does not answer now; it may in a moment."""


class Api:
    """Calls to one evalq service; every failure is a CallError with its exit code."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = redact(url.rstrip("/"))
        """To be shown: it may have been given with a password."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(60.0, connect=5.0)
        self._client = httpx.Client(
            base_url=url.rstrip("/"), headers=headers, timeout=timeout, follow_redirects=True
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a GET; parameters that are None are left out."""
        return self._json("GET", path, params=_given(params))

    def post(
        self, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **params: Any
    ) -> Any:
        """The JSON of a POST."""
        return self._json("POST", path, json=body, headers=headers, params=_given(params))

    def patch(self, path: str, body: Any) -> Any:
        """The JSON of a PATCH."""
        return self._json("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """A DELETE that was done."""
        self._json("DELETE", path)

    def pages(self, path: str, *, limit: int | None = None, **params: Any) -> Iterator[Json]:
        """Items of a list over all its pages, at most `limit` of them."""
        left, cursor = limit, None
        while left is None or left > 0:
            page = self.get(path, limit=PAGE if left is None else min(PAGE, left), cursor=cursor, **params)
            yield from page["data"]
            left = None if left is None else left - len(page["data"])
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def job_id(self, text: str) -> str:
        """The id meant by a full id, a prefix of one, or `@last`: the newest job of whoever asks."""
        if text == LAST:
            who = self.get("/v1/me")["name"]
            newest = self.get("/v1/jobs", limit=1, owner=who)["data"]
            if not newest:
                raise CallError(f"{who} has no job yet: there is no {LAST}", Exit.NOT_FOUND)
            return str(newest[0]["id"])
        prefix = text.lower()
        if not BEGINNING.fullmatch(prefix):
            message = f"{text!r} is no job: give its id, the beginning of that, or {LAST}"
            raise CallError(message, Exit.USAGE)
        return prefix if FULL_ID.fullmatch(prefix) else self._only_id_with(prefix)

    def job(self, job_id: str) -> Json:
        """A job as the API shows it."""
        found: Json = self.get(f"/v1/jobs/{job_id}")
        return found

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        silence_seconds: float | None = None,
        **params: Any,
    ) -> Iterator[httpx.Response]:
        """An answer read as it comes; UnreachableError also when it breaks off or is silent for too long."""
        timeout = httpx.Timeout(silence_seconds, connect=5.0)
        request = self._client.build_request(
            "GET", path, headers=headers, params=_given(params), timeout=timeout
        )
        response = self._send(request, stream=True)
        try:
            if response.is_error:
                response.read()
                raise problem(response)
            yield response
        except httpx.TransportError as error:
            raise UnreachableError(f"lost the connection to {self.url}: {error}") from None
        finally:
            response.close()

    def _only_id_with(self, prefix: str) -> str:
        listed = self.get("/v1/jobs", limit=MOST_NAMED + 1, id=prefix)["data"]
        found = [str(job["id"]) for job in listed]
        if not found:
            raise CallError(f"no job has an id that starts with {prefix!r}", Exit.NOT_FOUND)
        if len(found) > 1:
            named = ", ".join(found[:MOST_NAMED]) + (" and others" if len(found) > MOST_NAMED else "")
            raise CallError(f"{prefix!r} could be any of {named}: give more of it", Exit.USAGE)
        return found[0]

    def _json(self, method: str, path: str, **options: Any) -> Any:
        response = self._send(self._client.build_request(method, path, **options))
        if response.is_error:
            raise problem(response)
        try:
            return response.json() if response.content else None
        except ValueError:
            raise CallError(f"{self.url} answered something else than JSON: is it evalq?") from None

    def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            return self._client.send(request, stream=stream)
        except httpx.ConnectError:
            message = f"nothing answers at {self.url}: start it with `evalq up`, or set EVALQ_URL"
            raise UnreachableError(message) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnreachableError(
                f"no answer from {self.url}: {str(error) or type(error).__name__}"
            ) from None


def problem(response: httpx.Response) -> CallError:
    """An RFC 9457 answer in words: the detail, or the title and a line per fault."""
    code = OF_HTTP_STATUS.get(response.status_code, Exit.ERROR)
    kind = UnreachableError if response.status_code in PASSING else CallError
    try:
        document = response.json()
        errors = document.get("errors") or []
        listed, code = faults(errors), exit_of_faults(errors, code)
        message = (
            "\n".join([document["title"], *listed])
            if listed
            else hanging(document.get("detail") or document["title"])
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"{redact(str(response.url))} answered {response.status_code} {response.reason_phrase}"
    return kind(message, code)


def faults(errors: list[Json]) -> list[str]:
    """A line per fault: where, what, and what would be right; what only the cluster lacks comes last, apart."""
    lines: dict[bool, list[str]] = {False: [], True: []}
    for error in errors:
        line = one_line(f"  {error['path']}: {error['message']}{_allowed(error)}")
        lines[bool(error.get("lacking"))].append(line)
    return [*lines[False], *([LACKS, *lines[True]] if lines[True] else [])]


def exit_of_faults(errors: list[Json], code: Exit) -> Exit:
    """How a command about a job with these faults ends: with a code of its own where the cluster alone lacks."""
    return Exit.LACKING if errors and all(error.get("lacking") for error in errors) else code


def _allowed(error: Json) -> str:
    return f" (allowed: {', '.join(map(str, error['allowed']))})" if error.get("allowed") else ""


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
