"""What each `curl` of the documents must answer."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

from tests.integrators.lines import Line

Check = Callable[[str], Any]


def told(**wanted: Any) -> Check:
    """JSON with these values."""
    return lambda said: {name: json.loads(said).get(name) for name in wanted} == wanted


def has(*names: str) -> Check:
    """JSON with these names in it."""
    return lambda said: set(names) <= json.loads(said).keys()


def rows(said: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(said)))


def paged(said: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said)["data"]
    return found


ANSWERS: dict[str, Check] = {
    # README.md
    "-d @- > job.json": lambda said: said == "",
    "-N localhost:8000/v1/jobs/$ID/events ": lambda said: (
        "event: job.snapshot" in said and said.rstrip().partition("event: job.succeeded")[1]
    ),
    "$ID -H 'Accept: text/plain'": lambda said: re.search(r"^status +succeeded$", said, re.MULTILINE),
    "$ID/results  ": lambda said: json.loads(said)["results"]["evalq_facts"]["acc,none"] >= 0,
    "samples?task=evalq_facts&limit=3": lambda said: len(paged(said)) == 3,
    "$ID/artifacts ": lambda said: any(file["name"].startswith("results_") for file in paged(said)),
    # api.md
    "openapi.json > openapi.json": lambda said: said == "",
    "/v1/me": told(role="operator", sees_all_teams=True),
    "/v1/version": told(api="v1"),
    "/v1/backends": lambda said: {"hf", "vllm"} <= {backend["name"] for backend in paged(said)},
    "application/yaml": told(valid=True, errors=[], tasks=["evalq_facts"]),
    "Content-Type: text/plain": told(valid=True, errors=[], tasks=["evalq_facts"]),
    "gsm8kk": lambda said: (
        {fault["path"]: fault["allowed"] for fault in json.loads(said)["errors"]}.keys()
        >= {"model_args.pretrained", "tasks.0"}
    ),
    "status=succeeded&limit=2": lambda said: {job["status"] for job in paged(said)} == {"succeeded"},
    "fields=plan,tasks": lambda said: paged(said)[0]["plan"] and paged(said)[0]["tasks"][0]["status"],
    "-D headers.txt": lambda said: len(paged(said)) == 1,
    "jobs -H 'Accept: text/csv'": lambda said: rows(said)[0]["status"],
    "jobs -H 'Accept: application/jsonl'": lambda said: json.loads(said.splitlines()[0])["status"],
    "-X PATCH": told(tags=["nightly"], status="succeeded"),
    "$ID/cancel": told(status=409, code="illegal_move"),
    "jobs/cancel -H": lambda said: [each["outcome"] for each in paged(said)] == ["ended"],
    "cancel?tag=nightly": told(data=[], more=False),
    "text/markdown": lambda said: "|evalq_facts|" in said and said.startswith("hf ("),
    "results -H 'Accept: text/csv'": lambda said: rows(said)[0]["task"] == "evalq_facts",
    "samples?limit=2": lambda said: (
        [json.loads(line)["task"] for line in said.splitlines()] == ["evalq_facts"] * 2
    ),
    "logs?tail=5": lambda said: len(said.splitlines()) <= 5,
    "image/png": told(status=406, code="not_acceptable"),
    "-sN localhost:8000/v1/jobs/$ID/events": lambda said: said.startswith("event: job.snapshot"),
    "events?after=2": lambda said: paged(said)[0]["id"] == 3,
    # command-line.md
    "artifacts.zip": lambda said: said == "",
    # operations.md, security.md
    "/groups/node1-a/resume": told(name="local", draining=False),
    "/readyz": told(status="ready"),
    "Bearer $EVALQ_TOKEN": has("data", "next_cursor"),
}
"""By what only this line has in it: what its answer must be."""


def keys(line: Line) -> list[str]:
    """Which of them a line has in it; one, where all is well."""
    return [key for key in ANSWERS if key in f"{line.command} "]
