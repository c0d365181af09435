"""How long `/healthz` takes while 40 of the worst bodies are in the house, as a row of Markdown.

    .venv/bin/python -m benchmarks.worst_bodies [--seconds 30]

The service runs as `evalq api` does; the bodies come from a process of their own, 40 at a time without a pause.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx

from app.single_host.ports import free_port
from benchmarks.service import servers
from tests.waiting import until

ROOT = Path(__file__).parents[1]

IN_HOUSE = 40
PARTS = 90_000
LARGEST = 4 * 1024 * 1024 - 200
JOB = '"model":"hf","model_args":{"pretrained":"gpt2"}'
TASKS = '"tasks":["arc_easy"]'


def worst_bodies() -> list[bytes]:
    """At the bounds of size, of parts, of names, of patterns and of texts that are read again."""
    names = ",".join(f'"a{number}":1' for number in range(PARTS // 2))
    nest = '{"a":' * 28 + "[" + '"a",' * PARTS + "1]" + "}" * 28
    quoted = "a=['" + "\\'" * 8000
    numbers = ",".join(map(str, range(190_000, 0, -1)))
    patterns = [f"*e*a*zz{number}" for number in range(50)]
    jobs = [
        '{"x":[' + "0," * 1_000_000 + "0]}",
        '{"x":[' + '"\\u0000",' * 60_000 + "0]}",
        "{" + names + "}",
        '{"env":{' + names + "}}",
        '{"model_args":{' + names + "}}",
        '{"x":"' + '\\"' * (LARGEST // 2) + '"}',
        "{" + f'{JOB},{TASKS},"metadata":{{"a":{nest}}}' + "}",
        "{" + f'{JOB},{TASKS},"metadata":{{"a":"{"a " * (LARGEST // 2 - 100)}"}}' + "}",
        "{" + f'{JOB},{TASKS},"samples":{{"arc_easy":[{numbers}]}}' + "}",
        "{" + f'{JOB},{TASKS},"samples":{{{names.replace(":1", ":[1,0]")}}}'[: PARTS * 10] + "}",
        json.dumps({"model": "hf", "model_args": {"pretrained": "gpt2"}, "tasks": patterns}),
        json.dumps(
            {"model": "hf", "model_args": quoted, "gen_kwargs": quoted, "metadata": quoted, "tasks": patterns}
        ),
        json.dumps({"command": "lm_eval --model hf --tasks x " + "${a-" * 4000}),
        json.dumps({"command": "lm_eval --model hf --tasks x " + "1" * 16_000}),
    ]
    return [job.encode() for job in jobs]


def send_all(url: str, stopped: Event) -> None:
    """Forty clients, each with one body after the other; says at the end what was answered."""
    seen: Counter[int] = Counter()

    def send(first: int) -> None:
        bodies = cycle(worst_bodies()[first % 14 :] + worst_bodies()[: first % 14])
        with httpx.Client(timeout=300) as client:
            while not stopped.is_set():
                headers = {"Content-Type": "application/json"}
                answer = client.post(f"{url}/v1/jobs?dry_run=true", content=next(bodies), headers=headers)
                seen[answer.status_code] += 1

    with ThreadPoolExecutor(IN_HOUSE) as pool:
        list(pool.map(send, range(IN_HOUSE)))
    print(f"answered meanwhile: {dict(seen)}", file=sys.stderr)


def healthz(url: str, seconds: float) -> list[float]:
    """Milliseconds of one look after the other, ten a second."""
    times = []
    end = time.monotonic() + seconds
    with httpx.Client(timeout=60) as client:
        while (begun := time.monotonic()) < end:
            assert client.get(f"{url}/healthz").status_code == 200
            times.append((time.monotonic() - begun) * 1000)
            time.sleep(0.1)
    return times


@contextmanager
def service() -> Iterator[str]:
    """The API alone, on servers of its own."""
    with servers() as (folder, env):
        port = free_port()
        command = [sys.executable, "-m", "app.cli", "api", "--port", str(port)]
        with (folder / "api.log").open("wb") as log:
            process = subprocess.Popen(command, env=os.environ | env, stdout=log, stderr=log, cwd=ROOT)
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), seconds=60)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def answers(url: str) -> bool:
    """Whether the service is there."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def main() -> None:
    """Look at an idle service, then at one that is full, and print the row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    seconds = parser.parse_args().seconds
    spawning = get_context("spawn")
    with service() as url:
        idle = healthz(url, seconds / 5)
        stopped = spawning.Event()
        clients = spawning.Process(target=send_all, args=(url, stopped))
        clients.start()
        time.sleep(5)
        full = healthz(url, seconds)
        stopped.set()
        clients.join()
    print(
        f"| `/healthz` with {IN_HOUSE} of the worst bodies in the house | median {statistics.median(full):.0f} ms,"
        f" 99 of 100 under {statistics.quantiles(full, n=100)[98]:.0f} ms, worst {max(full):.0f} ms"
        f" | idle: median {statistics.median(idle):.0f} ms, worst {max(idle):.0f} ms |"
    )


if __name__ == "__main__":
    main()
