"""Requests that nobody should send, made by kind of field: depth, length, digits, surrogates, encodings.

schemathesis makes values of the declared types; this makes what those types do not show: text that is parsed again.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote, quote_from_bytes

from app.api.schemas.submission import JobPatch
from app.posting.job_body import JobIn
from app.workloads.lm_eval.command.flags import FLAGS
from tests.api.odd_values import WORDS, Raw, name, text, value
from tests.documents.commands import blocks

COMMANDS = [line for block in blocks() for line in block.text.split("\n")]
ENCODINGS = (*["utf-8"] * 20, "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1")


@dataclass(frozen=True)
class Request:
    """As it goes over the wire."""

    method: str
    path: str
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


def pairs(rng: Random) -> str:
    """`key=value,key=value` with something odd about it."""
    parts = [f"{name(rng)}={rng.choice([text(rng), rng.choice(WORDS)])}" for _ in range(rng.randrange(1, 6))]
    return rng.choice([",", ",", ", ", "", ",,"]).join(parts)


def command(rng: Random) -> str:
    """A command as people paste it, with flags and odd words thrown in."""
    words = rng.choice(COMMANDS).split(" ")
    for _ in range(rng.randrange(1, 5)):
        flag = f"{rng.choice(['--', '-', ''])}{rng.choice(FLAGS).name}"
        odd = rng.choice(
            [text(rng), pairs(rng), json.dumps({"arc_easy": [1]}), f"'{text(rng)}'", f'"{text(rng)}"']
        )
        words.insert(rng.randrange(len(words) + 1), rng.choice([odd, f"{flag} {odd}", f"{flag}={odd}", flag]))
    return " ".join(words)


def arguments(rng: Random) -> Any:
    """`model_args`, `gen_kwargs` or `metadata`."""
    given = {name(rng): value(rng, 2) for _ in range(rng.randrange(4))}
    return rng.choice(
        [pairs(rng), given, {"pretrained": "gpt2"} | given, f"pretrained=gpt2,{pairs(rng)}", value(rng)]
    )


def job(rng: Random) -> Any:
    """The body of a job: a right one, some of its fields made odd by their own kinds."""
    fields: dict[str, Any] = {"model": "hf", "model_args": {"pretrained": "gpt2"}, "tasks": ["arc_easy"]}
    for _ in range(rng.choice([1, 1, 2, 5])):
        field = rng.choice(
            [*JobIn.model_fields, "model_args", "gen_kwargs", "metadata", "tasks", "samples", "command"]
        )
        match field:
            case "model_args" | "gen_kwargs" | "metadata":
                fields[field] = arguments(rng)
            case "command":
                fields = {"command": command(rng)}
            case "tasks":
                fields[field] = rng.choice(
                    [text(rng), [text(rng) for _ in range(rng.randrange(5))], value(rng)]
                )
            case "samples":
                fields[field] = rng.choice(
                    [{"arc_easy": value(rng, 2)}, {text(rng): [0]}, text(rng), value(rng)]
                )
            case _:
                fields[field] = value(rng)
    return rng.choice([fields, fields, fields, fields, fields | {text(rng): value(rng)}, value(rng)])


def tamed(given: Any) -> Any:
    """The same without what is refused at the door, so that something is left to be judged behind it."""
    match given:
        case Raw():
            return 10**18
        case str():
            return given.translate({0: None} | dict.fromkeys(range(0xD800, 0xE000)))
        case dict():
            return {tamed(key)[:99]: tamed(item) for key, item in given.items()}
        case list():
            return [tamed(item) for item in given]
        case _:
            return given


def written(rng: Random, given: Any) -> bytes:
    """As bytes: in some encoding, whole or not."""
    if rng.random() < 0.8:
        return _json(tamed(given)).encode()
    body = _json(given).encode(rng.choice(ENCODINGS), rng.choice(["surrogatepass", "replace"]))
    match rng.randrange(12):
        case 0:
            return body[: rng.randrange(len(body) + 1)]
        case 1:
            at = rng.randrange(len(body) + 1)
            return body[:at] + rng.randbytes(3) + body[at:]
        case _:
            return body


def _json(given: Any) -> str:
    match given:
        case Raw():
            return given.text
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{_json(item)}" for key, item in given.items()) + "}"
        case list():
            return "[" + ",".join(map(_json, given)) + "]"
        case _:
            return json.dumps(given)


def cursor(rng: Random) -> str:
    """What could be taken for a cursor."""
    inside = rng.choice(
        [[text(rng), 0], [text(rng)], value(rng), [value(rng), value(rng)], ["2026-11-22", text(rng)]]
    )
    made = base64.urlsafe_b64encode(_json(inside).encode(errors="surrogatepass")).decode().rstrip("=")
    return rng.choice([made[:2000], made[:2000], text(rng)])


PARAMETERS = {
    "/v1/jobs": (
        "status",
        "model",
        "task",
        "tag",
        "owner",
        "name",
        "created_after",
        "limit",
        "cursor",
        "cursor",
    ),
    "/v1/tasks": ("search", "limit", "cursor", "cursor"),
    "/v1/jobs/{job}/samples": ("task", "filter", "limit", "cursor", "cursor"),
    "/v1/jobs/{job}/events": ("after", "limit"),
    "/v1/events": ("after", "limit", "status", "tag", "created_after", "cursor", "cursor"),
    "/v1/jobs/{job}/logs": ("tail", "follow"),
    "/v1/jobs/{job}/results": (),
    "/v1/jobs/{job}": (),
    "/v1/queue": (),
    "/v1/groups": (),
    "/v1/usage": ("from", "to", "by", "limit"),
}
DATES = (
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-11-22",
    "1e18",
    "-1",
    "10000-01-01",
    "2026-11-22T25:00",
)


def query(rng: Random, known: tuple[str, ...]) -> bytes:
    """Parameters, right names and wrong ones, as bytes or percent-encoded."""
    parts = []
    for _ in range(rng.randrange(1, 4)):
        parameter = rng.choice([*known, *known, text(rng)])
        match parameter:
            case "cursor":
                given = cursor(rng)
            case "created_after" | "from" | "to":
                given = rng.choice([*DATES, text(rng)])
            case _:
                given = rng.choice(
                    [text(rng), str(rng.choice(["0", "1", "-1", "9" * 5000, "1.5", "true", "queued"]))]
                )
        sent = rng.choice([quote(given[:3000], errors="replace"), quote_from_bytes(rng.randbytes(4))])
        parts.append(f"{quote(parameter[:300], errors='replace')}={sent}")
    return "&".join(parts).encode()[:30_000]


HEADERS = [
    "accept",
    "last-event-id",
    "prefer",
    "idempotency-key",
    "content-type",
    "content-encoding",
    "cookie",
]
HEADERS += [
    "authorization",
    "origin",
    "sec-fetch-site",
    "range",
    "if-none-match",
    "x-forwarded-for",
    "expect",
]


def headers(rng: Random) -> tuple[tuple[bytes, bytes], ...]:
    """Headers of ours and of others, as a server hands them on: any bytes but line ends."""
    found = []
    for _ in range(rng.choice([0, 0, 1, 2])):
        odd = rng.choice(
            [text(rng), "wait=" + text(rng), "application/json;q=" + text(rng), "Bearer " + text(rng)]
        )
        sent = (
            odd[:5000]
            .encode(errors="surrogatepass")
            .replace(b"\r", b"")
            .replace(b"\n", b"")
            .replace(b"\0", b"")
        )
        found.append((rng.choice(HEADERS).encode(), sent))
    return tuple(found)


def request(rng: Random, job_id: str) -> Request:
    """Any of it."""
    json_type = rng.choice([b"application/json"] * 9 + [b"text/plain"])
    sent = headers(rng)
    typed = sent if any(key == b"content-type" for key, _ in sent) else (*sent, (b"content-type", json_type))
    match rng.randrange(10):
        case 0 | 1 | 2 | 3 | 4:
            dry = rng.choice([b"dry_run=true"] * 6 + [b"", query(rng, ("dry_run",))])
            return Request("POST", "/v1/jobs", dry, typed, written(rng, job(rng)))
        case 5:
            fields = {
                rng.choice([*JobPatch.model_fields, text(rng)]): value(rng) for _ in range(rng.randrange(3))
            }
            return Request("PATCH", f"/v1/jobs/{job_id}", b"", typed, written(rng, fields))
        case 6 | 7:
            path, known = rng.choice(list(PARAMETERS.items()))
            return Request(
                rng.choice(["GET", "GET", "HEAD"]), path.replace("{job}", job_id), query(rng, known), sent
            )
        case 8:
            place = rng.choice(
                ["/v1/tasks/", "/v1/jobs/", f"/v1/jobs/{job_id}/artifacts/", "/v1/groups/", "/", "/v1/"]
            )
            odd = text(rng)[:3000].encode(errors="surrogatepass").decode(errors="replace")
            return Request(rng.choice(["GET", "POST", "DELETE"]), place + odd, b"", sent)
        case _:
            verb = rng.choice(["pause", "resume", "nothing", "events", "logs"])
            return Request(
                rng.choice(["POST", "PUT", "HEAD"]), f"/v1/jobs/{job_id}/{verb}", b"", sent, rng.randbytes(9)
            )
