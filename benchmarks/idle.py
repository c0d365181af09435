"""What all that `evalq up` runs costs while nothing goes on: memory, and processor time.

.venv/bin/python -m benchmarks.idle [--seconds 60] [--code CHECKOUT]

One CPU slot, servers of its own, no job yet. PSS counts what processes share once. An install with OpenTelemetry's SDK
holds some 9 MiB more. --code: the checkout whose service is measured.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from app.single_host.ports import free_port
from benchmarks.streams import HERE
from tests.client import Client, eventually

SETTLE_SECONDS = 30.0
"""A service that has just started still imports what jobs need."""
MOST_MIB = 500
MOST_PROCESSOR = 0.03
KINDS = {
    "app.cli api": "api",
    "app.cli scheduler": "scheduler",
    "app.cli up": "evalq up",
    "workers -Q coordinator": "coordinator worker",
    "workers -Q group.": "worker of a group",
    "workers.harness_child": "fork server",
    "valkey": "Valkey",
    "postgres": "Postgres",
}


@contextmanager
def idle_service(code: Path) -> Iterator[psutil.Process]:
    """`evalq up` of that code, once it is ready."""
    with tempfile.TemporaryDirectory(prefix="evalq-bench-") as folder:
        port = free_port()
        command = [sys.executable, "-m", "app.cli", "up", "--port", str(port), "--group", "slots=cpu:1"]
        env = os.environ | {"PYTHONPATH": str(code), "HF_HUB_OFFLINE": "1"}
        up = subprocess.Popen(
            [*command, "--data", f"{folder}/data"], env=env, cwd=folder, stderr=subprocess.DEVNULL
        )
        try:
            eventually(Client(port, folder).api_ready, 120, "a ready API")
            yield psutil.Process(up.pid)
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(60)


def kind_of(process: psutil.Process) -> str:
    """What it is called in the table; Postgres names its processes itself."""
    command = " ".join(process.cmdline())
    return next((kind for part, kind in KINDS.items() if part in command), "Postgres")


def pss(processes: list[psutil.Process]) -> Counter[str]:
    """Bytes by kind of process."""
    found = Counter[str]()
    for process in processes:
        found[kind_of(process)] += process.memory_full_info().pss
    return found


def seconds(processes: list[psutil.Process]) -> float:
    """Seconds of processor that they have used."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def main() -> None:
    """Print a row for each kind of process, and the sums beside their goals."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--code", type=Path, default=HERE)
    asked = parser.parse_args()
    with idle_service(asked.code) as up:
        time.sleep(SETTLE_SECONDS)
        processes = [up, *up.children(recursive=True)]
        before = seconds(processes)
        time.sleep(asked.seconds)
        spent = (seconds(processes) - before) / asked.seconds
        held = pss(processes)
    for kind, size in held.most_common():
        print(f"{kind}: {size / 2**20:.0f} MiB")
    print(
        f"in all: {held.total() / 2**20:.0f} MiB (goal {MOST_MIB}), {spent:.1%} of a core (goal {MOST_PROCESSOR:.0%})"
    )


if __name__ == "__main__":
    main()
