"""How many copies of a model a launcher would start: the processes of `accelerate launch` and `torchrun`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import FaultyField as Fault
from app.workloads.lm_eval.command.launchers import Launch
from app.workloads.lm_eval.command.sbatch import Allocation

_VALUED = frozenset(
    {"num_processes", "num_machines", "nproc_per_node", "nnodes", "gpu_ids", "config_file", "mixed_precision"}
)
_FALLING_AWAY = frozenset(
    {"main_process_ip", "main_process_port", "machine_rank", "master_addr", "master_port", "node_rank"}
) | {
    "rdzv_backend",
    "rdzv_endpoint",
    "rdzv_id",
    "use_fsdp",
    "use_deepspeed",
    "same_network",
    "dynamo_backend",
}
MOST_PROCESSES = 10_000


@dataclass
class Processes:
    """What is known of them; None where it is left to evalq."""

    count: int | None = None
    machines: int = 1
    visible_gpus: int | None = None
    """Of each machine."""
    mattering: list[str] = field(default_factory=list)
    """The words that were read for it."""
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def per_machine(self) -> int:
        """Processes of each machine."""
        return max(1, (self.count or 1) // self.machines)

    @property
    def world(self) -> str:
        """The processes in the words that launchers use."""
        each = f"{self.machines} machines with {self.per_machine} processes each"
        shape = each if self.machines > 1 else f"{self.count} processes"
        return f"world size {self.count} ({shape}, ranks 0 to {(self.count or 1) - 1})"


def read_processes(
    launch: Launch, allocation: Allocation, files: Mapping[str, Mapping[str, Any]]
) -> Processes:
    """The processes of a launch within what SLURM gives it; `files` are settings of launchers by their names."""
    allocation = launch.allocation.over(allocation)
    visible = allocation.gpus_per_node if launch.visible_gpus is None else launch.visible_gpus
    found = Processes(visible_gpus=visible)
    if launch.launcher is None:
        return found
    given = _options(launch.options)
    settings = _settings(given, files, found)
    nodes = allocation.nodes if launch.on_every_node else None
    if launch.launcher.startswith("accelerate"):
        _read_accelerate({**settings, **given}, nodes, found)
    else:
        _read_torchrun(given, nodes, found)
    if left_out := sorted(_FALLING_AWAY & given.keys()):
        names = ", ".join(f"--{name}" for name in left_out)
        found.notes.append(f"{names} of the launcher: not needed, since evalq starts the processes itself")
    return found


def _read_accelerate(given: Mapping[str, Any], nodes: int | None, found: Processes) -> None:
    """`--num_processes` counts those of all machines; without it there is one for every visible GPU."""
    found.notes += _precision_notes(given.get("mixed_precision"))
    gpus = [gpu for gpu in str(given.get("gpu_ids", "")).split(",") if gpu.strip().isdigit()]
    count = given.get("num_processes")
    if count is not None:
        found.count = _whole(count, "num_processes", found)
        machines = str(given.get("num_machines") or "")
        found.machines = int(machines) if re.fullmatch(r"[1-9]\d{0,4}", machines) else nodes or 1
        return
    found.machines = _whole(given.get("num_machines", nodes or 1), "num_machines", found) or 1
    each = len(gpus) or found.visible_gpus
    found.count = each * found.machines if each else None
    if each is None:
        found.notes.append("the launcher would use every GPU; `replicas` is left to evalq")


def _read_torchrun(given: Mapping[str, Any], nodes: int | None, found: Processes) -> None:
    """`--nproc-per-node` counts those of one machine, 1 unless it is said."""
    found.machines = _whole(given.get("nnodes", nodes or 1), "nnodes", found) or 1
    each = given.get("nproc_per_node", "1")
    if each in ("gpu", "auto"):
        each = found.visible_gpus
        if each is None:
            found.notes.append("the launcher would use every GPU; `replicas` is left to evalq")
            return
    number = _whole(each, "nproc_per_node", found)
    found.count = number * found.machines if number else None


def _whole(value: Any, name: str, found: Processes) -> int | None:
    """A number of processes or machines; a fault where it is none."""
    text = str(value)
    found.mattering.append(text)
    text = text.removeprefix("1:") if text == "1:1" else text
    if re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= MOST_PROCESSES:
        return int(text)
    message = f"--{name} {text[:80]} of the launcher is no whole number from 1 to {MOST_PROCESSES}"
    found.faults.append(Fault("command", message))
    return None


def _settings(
    given: Mapping[str, str], files: Mapping[str, Mapping[str, Any]], found: Processes
) -> Mapping[str, Any]:
    """What the launcher's file of settings says; what was given beside the text and is named nowhere counts too."""
    name = given.get("config_file")
    if name is None:
        return next((file for file in files.values() if is_launchers(file)), {})
    if name in files:
        return files[name]
    found.notes.append(
        f"{name[:200]!r} is a file of your machine: what it says of processes is not known here, and `replicas` is"
        " left to evalq (`evalq submit` reads the file, HTTP takes what it holds as `files`)"
    )
    return {}


def config_file(launch: Launch) -> str | None:
    """The file of settings that the launcher is given."""
    return _options(launch.options).get("config_file")


def is_launchers(file: Mapping[str, Any]) -> bool:
    """Whether a file holds settings of accelerate."""
    return bool(file.keys() & {"compute_environment", "distributed_type", "num_processes", "num_machines"})


def _precision_notes(precision: object) -> list[str]:
    if precision in (None, "no", False):
        return []
    return [
        f"mixed_precision {str(precision)[:20]} of the launcher is left out: the model computes in the dtype of"
        " model_args (mixed_precision_dtype there is lm-eval's own)"
    ]


def _options(words: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for index, word in enumerate(words):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            following = words[index + 1] if name in _VALUED and index + 1 < len(words) else ""
            options[name] = value if equals else following
    return options
