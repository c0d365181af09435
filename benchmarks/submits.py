"""How many jobs a second are taken, and how soon each is answered; the clients run on the same processors.

.venv/bin/python -m benchmarks.submits [--clients 8] [--rounds 3] [--beside CHECKOUT]

The group is drained, no coordinator runs, nothing is limited, and Postgres waits for its disk: 202 means stored.
--beside: an older checkout whose API is measured in turn with this one, round by round. Its migrations may miss only
what was added since.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from app.db.session import make_sessions
from app.domain.group import DeviceReport
from app.services.groups import GroupService
from app.settings import Settings
from benchmarks.service import servers
from benchmarks.streams import HERE, api, cpu
from tests.tiny_models import tiny_llama

SECONDS = 10.0
WARM_UP_SECONDS = 2.0
LASTING = ("fsync", "full_page_writes", "synchronous_commit")


def drained(settings: Settings) -> None:
    """A group that offers an engine and is given no work."""
    sessions = make_sessions(settings)
    groups = GroupService(sessions=sessions)
    reports = [DeviceReport("cpu:0", 0, "CPU slot")]
    groups.register(name="a", host="here", kind="cpu", backends=["hf"], version="0", reports=reports)
    groups.drain("a")
    sessions.close()


@contextmanager
def waiting_for_the_disk(url: str) -> Iterator[None]:
    """The server as operators run it, not as tests do."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in LASTING:
            connection.execute(f"ALTER SYSTEM SET {name} = on")
        connection.execute("SELECT pg_reload_conf()")
        yield


def post(port: int, body: bytes, until: float) -> list[float]:
    """Seconds of one submit after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times = []
    while (begun := time.monotonic()) < until:
        connection.request("POST", "/v1/jobs", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = answer.read()
        assert answer.status == 202, told
        times.append(time.monotonic() - begun)
    connection.close()
    return times


def measure(port: int, pid: int, body: bytes, clients: int) -> tuple[float, float, float, float]:
    """Submits a second, the median and p99 in seconds, and processor milliseconds of the API for each."""

    def all_of(seconds: float) -> list[float]:
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(clients) as pool:
            told = pool.map(partial(post, port, body), [until] * clients)
            return [each for times in told for each in times]

    all_of(WARM_UP_SECONDS)
    before = cpu(pid)
    times = all_of(SECONDS)
    spent = (cpu(pid) - before) * 1000 / len(times)
    return len(times) / SECONDS, statistics.median(times), statistics.quantiles(times, n=100)[98], spent


def main() -> None:
    """Print a row for each round, and the ratio of the medians of both checkouts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path)
    asked = parser.parse_args()
    checkouts = [("now", HERE), *([("beside", asked.beside)] if asked.beside else [])]
    rates = defaultdict[str, list[float]](list)
    with servers() as (_, env), waiting_for_the_disk(env["EVALQ_DATABASE_URL"]):
        settings = Settings(database_url=env["EVALQ_DATABASE_URL"], redis_url=env["EVALQ_REDIS_URL"])
        Path(env["EVALQ_DATA_DIR"]).mkdir()
        drained(settings)
        model = str(tiny_llama(Settings().cache_dir))
        job = {"model": "hf", "model_args": {"pretrained": model}, "tasks": ["arc_easy"], "limit": 10}
        told = env | {"EVALQ_ANY_MODEL_PATH": "true", "EVALQ_TEAM_JOBS": "0", "HF_HUB_OFFLINE": "1"}
        for turn in range(asked.rounds * len(checkouts)):
            name, code = checkouts[turn % len(checkouts)]
            with api(told, code) as (port, pid):
                rate, median, p99, spent = measure(port, pid, json.dumps(job).encode(), asked.clients)
            rates[name].append(rate)
            print(
                f"{name}: {rate:.0f} a second, median {median * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms,"
                f" {spent:.1f} ms of processor each"
            )
    if asked.beside:
        ratio = statistics.median(rates["now"]) / statistics.median(rates["beside"])
        print(f"now / beside: {ratio:.2f}")


if __name__ == "__main__":
    main()
