"""The same job through evalq and through `lm_eval run`: bit-identical, however it is spread and interrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgpack
import psutil
import psycopg
import pytest

from app.backends import backend_key
from tests.client import TERMINAL
from tests.e2e.comparison import assert_same
from tests.e2e.conftest import NARROW_LIMIT
from tests.e2e.stack import Stack
from tests.reference import Reference
from tests.workers.first_fingerprint import first_fingerprint

Body = dict[str, Any]


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_document_is_lm_evals_own(stack: Stack, body: Body, reference: Reference, replicas: int) -> None:
    job = stack.run(body | {"replicas": replicas})
    assert job["progress"]["done"] == job["progress"]["total"] > 0
    assert_same(stack, job["id"], reference)


def test_both_replicas_answer_and_stay_warm(stack: Stack, body: Body) -> None:
    jobs = [stack.run(body) for _ in range(2)]
    first, second = ({replica["id"] for replica in job["replicas"]} for job in jobs)
    assert len(first) == 2
    assert second == first


def test_a_killed_engine_costs_nothing_but_time(stack: Stack, body: Body, reference: Reference) -> None:
    job_id = begun(stack, body)
    engine = next(p for p in psutil.process_iter(["cmdline"]) if is_engine(p, stack.job(job_id)))
    engine.kill()
    job = stack.finished(job_id)
    assert job["status"] == "succeeded", job
    assert_same(stack, job_id, reference)


@pytest.mark.parametrize("part", ["worker", "coordinator", "api", "scheduler"])
def test_a_killed_part_costs_nothing_but_time(
    stack: Stack, body: Body, reference: Reference, part: str
) -> None:
    job_id = begun(stack, body)
    stack.kill(part)
    stack.start(part)
    job = stack.finished(job_id)
    assert job["status"] == "succeeded", job
    assert_same(stack, job_id, reference)
    events = stack.events(job_id)
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "job.succeeded"


# Last, since other engines stay warm in the slots that the tests above need.
def test_narrow_weights_give_lm_evals_numbers_and_no_answer_of_the_engine_before(
    stack: Stack, body: Body, model: Path, references: dict[str, Reference]
) -> None:
    args, reference = {"dtype": "bfloat16"}, references["bfloat16"]
    keys = {key_of(asked) for row in reference.samples["e2e_choice"] for asked in row["arguments"].values()}
    store(stack, first_fingerprint(str(model), args, backend_key("hf")), keys, [-1.0, True])
    narrow = {"model_args": {"pretrained": str(model)} | args, "limit": NARROW_LIMIT, "replicas": 1}
    job = stack.run(body | narrow | {"reuse_responses": True})
    assert_same(stack, job["id"], reference)
    assert job["progress"]["reused"] == 0
    assert stored(stack, keys) == 2 * len(keys)
    assert any("softmax_dtype=float32" in line for line in job["plan"]["explanation"])
    (engine,) = stack.results(job["id"])["evalq"]["engines"]
    assert engine["dtype"] == engine["softmax_dtype"] == "bfloat16"


def test_a_gguf_file_gives_lm_evals_numbers(
    stack: Stack, body: Body, gguf: Path, references: dict[str, Reference]
) -> None:
    args = {"pretrained": str(gguf.parent), "gguf_file": gguf.name}
    job = stack.run(body | {"model_args": args, "limit": NARROW_LIMIT, "replicas": 1})
    assert_same(stack, job["id"], references["gguf"])
    assert any("parameters x 4 bytes (float32)" in line for line in job["plan"]["explanation"])


def key_of(arguments: dict[str, str]) -> bytes:
    """Of a log-likelihood that other jobs may use."""
    return hashlib.sha256(msgpack.packb(["loglikelihood", list(arguments.values()), 0, None])).digest()


def store(stack: Stack, fingerprint: bytes, keys: Iterable[bytes], answer: object) -> None:
    """The answer of an engine of that fingerprint to each of these requests."""
    rows = [(fingerprint, key, msgpack.packb(answer)) for key in keys]
    with psycopg.connect(stack.database_url) as connection:
        connection.cursor().executemany(
            "INSERT INTO responses (fingerprint, key, value) VALUES (%s, %s, %s)", rows
        )


def stored(stack: Stack, keys: Iterable[bytes]) -> int:
    """How many answers there are to these requests."""
    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM responses WHERE key = ANY(%s)", [list(keys)]
        ).fetchone()
    assert row is not None
    return int(row[0])


def begun(stack: Stack, body: Body) -> str:
    """A job whose requests are being answered; posted again where it ended before it was seen at that."""
    for _ in range(10):
        job_id = stack.submit(body)
        job = stack.until(job_id, is_under_way, 90)
        if job["status"] == "running":
            return job_id
    raise AssertionError("every job ended before it was seen running")


def is_under_way(job: dict[str, Any]) -> bool:
    """Whether engines answer it, or it has ended already."""
    return job["phase"] in {"evaluating", "scoring"} or job["status"] in TERMINAL


def is_engine(process: psutil.Process, job: dict[str, Any]) -> bool:
    """Whether this is an engine child of one of the job's replicas; its shim is not."""
    command = " ".join(process.info["cmdline"] or ())
    if "bootstrap.py" not in command or "shim.py" in command:
        return False
    return process.environ().get("EVALQ_REPLICA") in {replica["id"] for replica in job["replicas"]}
