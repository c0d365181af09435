"""What stands before lm-eval's own flags: assignments, wrappers, containers, `srun`, and what starts processes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from app.errors import FaultyField as Fault
from app.workloads.lm_eval.command.sbatch import Allocation, read_srun
from app.workloads.lm_eval.command.variables import ASSIGNMENT, SECRET

LM_EVAL = frozenset({"lm_eval", "lm-eval", "lm_eval.__main__", "main.py"})
OWN_LAUNCHERS = frozenset({"accelerate", "torchrun", "torch.distributed.run", "accelerate.commands.launch"})
_WRAPPERS = frozenset(
    {"time", "nohup", "exec", "command", "env", "sudo", "nice", "ionice", "timeout", "stdbuf", "taskset"}
) | {"numactl", "uvx", "srun"}
_RUNNERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("uv", "poetry", "pdm", "pipx", "hatch", "conda", "mamba", "micromamba"), ("run",)),
    **dict.fromkeys(("docker", "podman", "singularity", "apptainer"), ("run", "exec")),
}
"""Programs that start another one with these subcommands only."""
_CONTAINERS = frozenset({"docker", "podman", "singularity", "apptainer"})
_CLUSTER = {"mpirun": "MPI", "mpiexec": "MPI", "deepspeed": "DeepSpeed", "ssh": "remote", "pdsh": "remote"}
STARTERS = LM_EVAL | OWN_LAUNCHERS | _WRAPPERS | _RUNNERS.keys() | _CLUSTER.keys()
"""Programs that a command for lm-eval may begin with, beside Python."""
_NAMED_BEFORE = frozenset({"-n", "--name", "-p", "--prefix", "-w", "--workdir", "-u", "--user", "--network"})
"""Options whose value may be called as lm-eval is."""
_LAUNCHERS_OWN = re.compile(
    r"ACCELERATE_\w+|MASTER_(?:ADDR|IP|PORT)|(?:NODE_|LOCAL_|GROUP_)?RANK|(?:LOCAL_)?WORLD_SIZE|(?:SLURM|SBATCH|SRUN)_\w+"
)


@dataclass
class Launch:
    """How lm-eval was to be started; `arguments` is None where the words do not start it at all."""

    arguments: list[str] | None = None
    launcher: str | None = None
    """The program that starts its processes, and the words behind it."""
    options: list[str] = field(default_factory=list)
    allocation: Allocation = field(default_factory=Allocation)
    """Of `srun`, before it."""
    on_every_node: bool = False
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
    at = _program_at(words)
    if at is not None:
        launch.arguments = list(words[at + 1 :])
        if launch.arguments[:1] and base(launch.arguments[0]) in LM_EVAL:  # an image of that name
            del launch.arguments[0]
        _read_before(words[:at], launch)
    return launch


def program_of(words: Sequence[str]) -> str:
    """The program a command starts, without assignments before it (they may hold credentials)."""
    return next((word for word in words if not ASSIGNMENT.fullmatch(word)), "")


def base(word: str) -> str:
    """The name of a program without its folder."""
    return PurePosixPath(word).name


def is_python(program: str) -> bool:
    """Whether it is the interpreter, of any version."""
    return re.fullmatch(r"python[\d.]*", program) is not None


def set_environment(variables: Mapping[str, str], launch: Launch) -> None:
    """Take assignments over; refuse credentials without repeating them, read device lists as numbers."""
    for name, value in variables.items():
        if SECRET.search(name):
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
        elif name == "HF_ALLOW_CODE_EVAL":
            launch.notes.append(f"{name} is set where the job confirms that its tasks run code")
        elif _LAUNCHERS_OWN.fullmatch(name):
            launch.notes.append(
                f"{name} is left out: it is for a launcher, and evalq starts the engines itself"
            )
        else:
            launch.env[name] = value


def _program_at(words: Sequence[str]) -> int | None:
    """Where lm-eval is named as a program, or None where something else is started."""
    first = next((index for index, word in enumerate(words) if not ASSIGNMENT.fullmatch(word)), len(words))
    starters = _starters(words[first:])
    for index in range(first, len(words)):
        named_so = index > first and words[index - 1] in _NAMED_BEFORE
        if base(words[index]) in LM_EVAL and not named_so:
            return index if index == first or starters else None
    return None


def _starters(words: Sequence[str]) -> bool:
    """Whether a program that starts another one leads, and nothing among the first words makes it another task."""
    name = base(words[0]) if words else ""
    if name in _RUNNERS:
        return any(word in _RUNNERS[name] for word in words[1:3])
    inner = [base(word) for word in words[1:] if base(word) in _RUNNERS or base(word) in ("pip", "pip3")]
    if name in _WRAPPERS and inner:
        return _starters(words[[base(word) for word in words].index(inner[0]) :])
    return name in _WRAPPERS | OWN_LAUNCHERS | _CLUSTER.keys() or (is_python(name) and not inner)


def _read_before(words: Sequence[str], launch: Launch) -> None:
    """Everything before lm-eval, from left to right, up to the launcher's own options."""
    assigned: dict[str, str] = {}
    for index, word in enumerate(words):
        name, found = base(word), ASSIGNMENT.fullmatch(word)
        if found and not word.startswith("-"):
            assigned[found[1]] = found[3]
        elif name in OWN_LAUNCHERS:
            launch.launcher, launch.options = name, list(words[index + 1 :])
            break
        else:
            _read_starter(name, words[index + 1 :], launch)
    set_environment(assigned, launch)


def _read_starter(name: str, following: Sequence[str], launch: Launch) -> None:
    if name == "srun":
        launch.allocation, launch.on_every_node = read_srun(_own_options(following)), True
        launch.notes.append("srun is left out: evalq starts the processes itself")
    elif name in _CLUSTER:
        launch.faults.append(Fault("command", _cluster_message(name)))
    elif name in _CONTAINERS:
        launch.notes.append(
            f"the container of {name} is left out: engines run in environments of evalq's own"
        )
    elif name == "timeout":
        launch.notes.append("timeout is left out: `deadline_seconds` ends a job")


def _own_options(words: Sequence[str]) -> list[str]:
    """The words up to the next program."""
    known = OWN_LAUNCHERS | _WRAPPERS | _RUNNERS.keys()
    ends = (
        index for index, word in enumerate(words) if base(word) in known or base(word).startswith("python")
    )
    return list(words[: next(ends, len(words))])


def _cluster_message(name: str) -> str:
    return (
        f"{name} starts processes over a {_CLUSTER[name]} cluster; evalq does that itself: post what follows it, "
        "and set `replicas` for more copies of the model"
    )
