"""The parts that `evalq up` runs beside the servers, each one `evalq` command in a process of its own."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import LocalStartError
from app.single_host.processes import Process, spawn

GPU_LIST = re.compile(r"\d+(,\d+)*")
CPU_SLOTS = re.compile(r"cpu:[1-9]\d*")
SERVICES, WORKERS = 2, 3  # ranks; 0 and 1 are Postgres and Valkey
DRAIN_SECONDS = 60.0  # a worker finishes the chunks it has; the first ones of a model are the longest
GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class LocalGroup:
    """Devices that one worker owns: `cpu:2` or GPU indices `0,1`."""

    name: str
    devices: str

    def __str__(self) -> str:
        return f"group {self.name} on {'GPUs ' if not self.on_cpu else ''}{self.devices}"

    @property
    def on_cpu(self) -> bool:
        """CPU slots instead of GPUs."""
        return self.devices.startswith("cpu:")

    @property
    def size(self) -> int:
        """How many devices: as many replicas at most."""
        return int(self.devices.removeprefix("cpu:")) if self.on_cpu else self.devices.count(",") + 1


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


def parse_groups(texts: Sequence[str]) -> list[LocalGroup]:
    """Groups from `NAME=DEVICES`; LocalStartError on a malformed one, a name twice or a GPU in two groups."""
    groups = [_parse_group(text) for text in texts]
    names = [group.name for group in groups]
    gpus = [gpu for group in groups if not group.on_cpu for gpu in group.devices.split(",")]
    for kind, seen in (("group", names), ("GPU", gpus)):
        twice = sorted({item for item in seen if seen.count(item) > 1})
        if twice:
            raise LocalStartError(f"{kind} {twice[0]} is given twice")
    return groups


def found_groups() -> list[LocalGroup]:
    """The GPUs that NVML shows as one group, or one CPU slot."""
    indices = ",".join(str(index) for index in range(_gpus()[0]))
    return [LocalGroup("gpu", indices)] if indices else [LocalGroup("cpu", "cpu:1")]


def check_gpus(groups: Sequence[LocalGroup]) -> None:
    """LocalStartError where a group names a GPU that this host does not have, with what NVML says."""
    named = [(group, gpu) for group in groups if not group.on_cpu for gpu in group.devices.split(",")]
    if not named:
        return
    count, why = _gpus()
    for group, gpu in named:
        if int(gpu) >= count:
            has = f"NVML shows GPUs 0 to {count - 1}" if count else why
            advice = f"CPU slots are {group.name}=cpu:1"
            raise LocalStartError(f"group {group.name}: there is no GPU {gpu} on this host: {has}; {advice}")


def evalq_parts(
    *, host: str, port: int, groups: Sequence[LocalGroup], env: Mapping[str, str], logs: Path
) -> list[Part]:
    """Api, scheduler, coordinator and a worker per group."""

    def part(name: str, rank: int, *arguments: str) -> Part:
        log = logs / f"{name}.log"
        grace = DRAIN_SECONDS if rank == WORKERS else 20.0
        return Part(
            name, lambda: spawn(evalq_command(*arguments), log=log, env=env), log, rank, grace_seconds=grace
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


def _parse_group(text: str) -> LocalGroup:
    name, _, devices = text.partition("=")
    if not GROUP_NAME.fullmatch(name) or not (CPU_SLOTS.fullmatch(devices) or GPU_LIST.fullmatch(devices)):
        raise LocalStartError(f"--group {text}: expected NAME=cpu:2 or NAME=0,1,2,3")
    return LocalGroup(name, devices)


def _gpus() -> tuple[int, str]:
    """How many GPUs NVML shows, and why there are none where that is so."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # noqa: BLE001 - no package, no library, no driver: no GPU
        return 0, str(error) or type(error).__name__
    try:
        return int(pynvml.nvmlDeviceGetCount()), "NVML shows none"
    finally:
        pynvml.nvmlShutdown()
