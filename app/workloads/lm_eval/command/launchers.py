"""What stands before lm-eval's own flags: assignments, wrappers, `accelerate launch`, `torchrun`, `srun`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from app.errors import FaultyField as Fault

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SECRET = re.compile(r"(^|_)(TOKEN|API_?KEY|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
_LM_EVAL = frozenset({"lm_eval", "lm-eval", "lm_eval.__main__", "main.py"})
_WRAPPERS = frozenset(
    {"time", "nohup", "exec", "command", "env", "sudo", "uvx", "uv", "poetry", "pdm", "pipx", "run"}
)
_CLUSTER = {
    "srun": "SLURM",
    "sbatch": "SLURM",
    "mpirun": "MPI",
    "mpiexec": "MPI",
}
_OWN_LAUNCHERS = frozenset({"accelerate", "torchrun", "torch.distributed.run", "accelerate.commands.launch"})
_VALUED = frozenset({"num_processes", "num_machines", "nproc_per_node", "nnodes", "gpu_ids", "config_file"})
_WITHOUT_EFFECT = frozenset({"mixed_precision", "config_file", "use_fsdp", "use_deepspeed"})


@dataclass
class Launch:
    """How lm-eval was to be started; `arguments` is None where the words do not start it at all."""

    arguments: list[str] | None = None
    processes: int | None = None
    every_gpu: bool = False
    """One process per visible GPU."""
    visible_gpus: int | None = None
    env: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read_launch(words: Sequence[str]) -> Launch:
    """Read one command up to lm-eval's own flags; words that begin with a flag are taken as lm-eval's flags."""
    launch = Launch()
    if words and words[0].startswith("-"):
        launch.arguments = list(words)
        return launch
    rest = list(words)
    while rest and (_ASSIGNMENT.fullmatch(rest[0]) or _base(rest[0]) in _WRAPPERS):
        rest.pop(0)
    program = next((index for index, word in enumerate(rest) if _base(word) in _LM_EVAL), None)
    if program is not None and (program == 0 or _is_starter(rest[0])):
        _read_assignments(words[: len(words) - len(rest)], launch)
        launch.arguments = rest[program + 1 :]
        _read_launcher(rest[:program], launch)
    return launch


def exported(words: Sequence[str]) -> dict[str, str] | None:
    """The assignments of `export A=1 B=2` or `A=1`, or None where the words are another command."""
    if words and words[0] == "export":
        words = words[1:]
    found = [_ASSIGNMENT.fullmatch(word) for word in words]
    return {each[1]: each[2] for each in found if each} if all(found) and found else None


def program_of(words: Sequence[str]) -> str:
    """The program a command starts, without assignments before it (they may hold credentials)."""
    return next((word for word in words if not _ASSIGNMENT.fullmatch(word)), "")


def set_environment(variables: Mapping[str, str], launch: Launch) -> None:
    """Take assignments over; refuse credentials without repeating them, read device lists as numbers."""
    for name, value in variables.items():
        if _SECRET.search(name):
            message = (
                f"{name}: credentials are never taken from a command; the operator gives them to the workers"
            )
            launch.faults.append(Fault("command", message))
        elif name == "CUDA_VISIBLE_DEVICES":
            launch.visible_gpus = len([device for device in value.split(",") if device.strip()])
            launch.notes.append(
                f"CUDA_VISIBLE_DEVICES={value} is read as {launch.visible_gpus} GPUs, not as which"
            )
        elif name == "LMEVAL_LOG_LEVEL":
            launch.notes.append("LMEVAL_LOG_LEVEL is not needed: every log is kept with the job")
        else:
            launch.env[name] = value


def _read_assignments(words: Sequence[str], launch: Launch) -> None:
    found = [_ASSIGNMENT.fullmatch(word) for word in words]
    set_environment({each[1]: each[2] for each in found if each}, launch)


def _read_launcher(words: list[str], launch: Launch) -> None:
    for index, word in enumerate(words):
        name = _base(word)
        if name in _CLUSTER:
            launch.faults.append(Fault("command", _cluster_message(name)))
        elif name in _OWN_LAUNCHERS:
            _read_processes(words[index + 1 :], launch, every_gpu=name.startswith("accelerate"))
            return


def _is_starter(word: str) -> bool:
    name = _base(word)
    return name in _OWN_LAUNCHERS or name in _CLUSTER or re.fullmatch(r"python[\d.]*", name) is not None


def _read_processes(options: list[str], launch: Launch, *, every_gpu: bool) -> None:
    given = _options(options)
    for name in ("num_machines", "nnodes"):
        if given.get(name, "1") not in ("1", "1:1"):
            launch.faults.append(Fault("command", _multi_node_message(f"--{name} {given[name]}")))
    gpus = [gpu for gpu in given.get("gpu_ids", "").split(",") if gpu.strip().isdigit()]
    count = given.get("num_processes") or given.get("nproc_per_node") or (str(len(gpus)) if gpus else None)
    launch.notes += [
        f"--{name} of the launcher has no effect here" for name in sorted(_WITHOUT_EFFECT & given.keys())
    ]
    if count is None or count in ("gpu", "auto"):
        launch.every_gpu = every_gpu or count is not None
        return
    try:
        launch.processes = int(count)
    except ValueError:
        if not count.startswith("$"):  # a variable without a value is a fault already
            launch.faults.append(
                Fault("command", f"the number of processes, {count!r}, is not a whole number")
            )


def _options(words: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for index, word in enumerate(words):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            following = words[index + 1] if name in _VALUED and index + 1 < len(words) else ""
            options[name] = value if equals else following
    return options


def _base(word: str) -> str:
    return PurePosixPath(word).name


def _cluster_message(name: str) -> str:
    return (
        f"{name} starts processes over a {_CLUSTER[name]} cluster; evalq does that itself: post what follows it, "
        "and set `replicas` for more copies of the model"
    )


def _multi_node_message(option: str) -> str:
    return (
        f"{option} starts lm_eval on several machines; evalq spreads a job over machines itself: "
        "leave the launcher out and set `replicas`"
    )
