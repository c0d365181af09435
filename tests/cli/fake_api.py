"""A small HTTP server that speaks the contract, scripted by a test."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


def job_id(number: int) -> str:
    """Ids as the service makes them: the later, the greater."""
    return f"019aa{number:03x}-5b6c-7000-8000-{number:012x}"


def job(number: int = 1, status: str = "succeeded", **fields: Any) -> Json:
    """A job as the API shows it."""
    done = 100 if status == "succeeded" else 22
    return {
        "id": job_id(number),
        "name": "nightly",
        "owner": "alice",
        "status": status,
        "phase": "evaluating" if status == "running" else None,
        "reason": "evaluating on 2 replicas" if status == "running" else None,
        "priority": 50,
        "tags": [],
        "spec": {"model": "hf"},
        "plan": {"command": "lm_eval run --model hf", "explanation": ["one CPU slot"]},
        "progress": {
            "done": done,
            "total": 100,
            "percent": float(done),
            "reused": 0,
            "requests_per_second": 61.2,
            "eta_seconds": 71,
        },
        "tasks": [
            {"name": "gsm8k", "status": "running", "done": done, "total": 100, "metrics": None, "error": None}
        ],
        "replicas": [],
        "created_at": "2026-11-22T00:00:00+00:00",
        "started_at": None,
        "ended_at": None,
        "gpu_seconds": 0.0,
        "error": None,
    } | fields


ME = {"name": "alice", "team": "nlp", "role": "operator", "sees_all_teams": True}


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class FakeApi:
    """What the server answers. `answers` wins over `jobs`; each connection to events takes the next of `streams`."""

    url: str = ""
    jobs: list[Json] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    states: deque[Json] = field(default_factory=deque)
    streams: deque[Sequence[tuple[int | None, str]]] = field(default_factory=deque)
    seen: list[Seen] = field(default_factory=list)
    page_size: int = 200
    last_event: str = ""
    """A client that has this one is told that there are no more."""

    def answer(self, request: Seen) -> tuple[int, Any]:
        """Status and body."""
        key = f"{request.method} {request.path}"
        if key in self.answers:
            return self.answers[key]
        if key == "GET /v1/me":
            return 200, ME
        if key == "GET /v1/jobs":
            return 200, self._page(request.query)
        if match := re.fullmatch(r"GET /v1/jobs/([^/]+)", key):
            return self._job(match[1])
        return 404, problem(404, "Not found", f"there is no {request.path}")

    def _page(self, query: dict[str, str]) -> Json:
        start, size = int(query.get("cursor", 0)), min(int(query.get("limit", 50)), self.page_size)
        end = start + size
        beginning = query.get("id", "")
        listed = [job for job in self.jobs if query.get("owner") in {None, job["owner"]}]
        listed = [job for job in listed if job["id"].startswith(beginning)]
        return {"data": listed[start:end], "next_cursor": str(end) if end < len(listed) else None}

    def _job(self, wanted: str) -> tuple[int, Any]:
        """The next of `states` while there are any; the last one stays."""
        if self.states:
            state = self.states.popleft()
            if not self.states:
                self.jobs = [state]
            return 200, state
        found = [one for one in self.jobs if one["id"] == wanted]
        return (200, found[0]) if found else (404, problem(404, "No job has this id", f"no job {wanted}"))


def problem(status: int, title: str, detail: str, errors: Sequence[Json] = ()) -> Json:
    """An RFC 9457 body."""
    return {
        "type": "urn:x",
        "title": title,
        "status": status,
        "detail": detail,
        "code": "x",
        "errors": list(errors),
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        request = Seen(
            method, url.path, query, dict(self.headers.items()), json.loads(body) if body else None
        )
        self.server.fake.seen.append(request)
        if (
            url.path.endswith("/events")
            and request.headers.get("Last-Event-ID") == self.server.fake.last_event
        ):
            self._send(204, None)
        elif url.path.endswith("/events"):
            self._stream(self.server.fake.streams.popleft() if self.server.fake.streams else [])
        else:
            self._send(*self.server.fake.answer(request))

    def _send(self, status: int, answer: Any) -> None:
        data = (
            answer if isinstance(answer, bytes) else answer if isinstance(answer, str) else json.dumps(answer)
        )
        data = data.encode() if isinstance(data, str) else data
        data = b"" if status == 204 else data
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: Sequence[tuple[int | None, str]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number, kind in events:
            data = json.dumps({"id": number, "at": "2026-11-22T00:00:00Z", "type": kind, "data": {}})
            self.wfile.write(f"event: {kind}\ndata: {data}\n".encode())
            self.wfile.write(f"id: {number}\n\n".encode() if number is not None else b"\n")
        self.close_connection = True


@contextmanager
def serving() -> Iterator[FakeApi]:
    """A server on a free port until the end."""
    fake = FakeApi()
    server = _Server(fake)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
