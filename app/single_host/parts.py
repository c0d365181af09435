"""The parts that `evalq up` runs beside the servers, each one `evalq` command in a process of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain.group import GROUP_NAME
from app.errors import GpuUnavailableError, LocalStartError
from app.gpus.naming import WAYS, OwnedDevice, parse_devices, says_devices
from app.gpus.nvml import discover
from app.single_host.processes import Process, spawn

SERVICES, WORKERS = 2, 3  # ranks; 0 and 1 are Postgres and Valkey
DRAIN_SECONDS = 60.0  # a worker finishes the chunks it has; the first ones of a model are the longest
_FINISHES = {
    "--group": "its engines answer the chunks that they have",
    "--role": "its jobs go back to the queue with every answer they have",
}


@dataclass(frozen=True)
class LocalGroup:
    """Devices that one worker owns, as they are named: `cpu:2`, `0,1`, `all`."""

    name: str
    devices: str
    size: int = 1
    """How many devices: as many replicas at most."""

    def __str__(self) -> str:
        return f"group {self.name} on {'GPUs ' if not self.on_cpu else ''}{self.devices}"

    @property
    def on_cpu(self) -> bool:
        """CPU slots instead of GPUs."""
        return self.devices.startswith("cpu:")


@dataclass(frozen=True)
class Part:
    """Something to keep running. Parts of a higher rank need those of a lower one and stop first."""

    name: str
    launch: Callable[[], Process]
    log: Path
    rank: int
    await_ready: Callable[[Process], None] = lambda _: None
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 20.0
    finishes: str = ""
    """What it still does when it is told to stop."""


def parse_groups(texts: Sequence[str]) -> list[LocalGroup]:
    """Groups from `NAME=DEVICES`; LocalStartError on a malformed one, a name or GPU twice, a GPU that is not here."""
    named = [_named(text) for text in texts]
    _refuse_twice("group", [name for name, _ in named])
    owned = {name: _owned(name, devices) for name, devices in named}
    _refuse_twice("GPU", [device.name for each in owned.values() for device in each if device.gpu])
    return [LocalGroup(name, devices, len(owned[name])) for name, devices in named]


def found_groups() -> list[LocalGroup]:
    """The GPUs that NVML shows as one group, or one CPU slot."""
    try:
        count = len(discover())
    except GpuUnavailableError:
        count = 0
    return [LocalGroup("gpu", "all", count)] if count else [LocalGroup("cpu", "cpu:1")]


def _named(text: str) -> tuple[str, str]:
    name, _, devices = text.partition("=")
    if not GROUP_NAME.fullmatch(name) or not says_devices(devices):
        raise LocalStartError(f"--group {text}: expected NAME=DEVICES, and as devices {WAYS}")
    return name, devices


def _owned(name: str, devices: str) -> list[OwnedDevice]:
    try:
        return parse_devices(devices)
    except (ValueError, GpuUnavailableError) as error:
        raise LocalStartError(f"group {name}: {error}; CPU slots are {name}=cpu:1") from error


def _refuse_twice(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise LocalStartError(f"{what} {twice[0]} is given twice")


def evalq_parts(
    *, host: str, port: int, groups: Sequence[LocalGroup], env: Mapping[str, str], logs: Path
) -> list[Part]:
    """Api, scheduler, coordinator and a worker per group."""

    def part(name: str, rank: int, *arguments: str) -> Part:
        log = logs / f"{name}.log"
        grace = DRAIN_SECONDS if rank == WORKERS else 20.0
        finishes = next((says for option, says in _FINISHES.items() if option in arguments), "")
        return Part(
            name,
            lambda: spawn(evalq_command(*arguments), log=log, env=env),
            log,
            rank,
            grace_seconds=grace,
            finishes=finishes,
        )

    return [
        part("api", SERVICES, "api", "--host", host, "--port", str(port)),
        part("scheduler", SERVICES, "scheduler"),
        part("coordinator", WORKERS, "worker", "--role", "coordinator"),
        *(
            part(f"worker-{g.name}", WORKERS, "worker", "--group", g.name, "--devices", g.devices)
            for g in groups
        ),
    ]


def evalq_command(*arguments: str) -> list[str]:
    """A command line of this evalq, wherever it is installed and whatever lies in the current folder."""
    return [sys.executable, "-P", "-m", "app.cli", *arguments]
