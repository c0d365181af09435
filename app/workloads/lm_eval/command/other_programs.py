"""What is said of the commands in a pasted text that start no lm-eval: they are named, and never run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.errors import FaultyField as Fault
from app.workloads.lm_eval.command.launchers import OWN_LAUNCHERS, base, is_python, program_of
from app.workloads.lm_eval.command.shell_blocks import Command
from app.workloads.lm_eval.command.variables import brief

NO_COMMAND = "no lm_eval command is in here; it begins with lm_eval, python -m lm_eval or accelerate launch"
LEFT_OUT = "... stands for arguments that were left out; write them"
_INSTEAD = {"ray": ": no Ray cluster is needed where the GPUs of one replica are in one group"}
_QUEUES = frozenset({"sbatch", "qsub", "bsub"})
_TRAINING = re.compile(r"train|tun(?:e|ing)|sft|dpo|rlhf", re.IGNORECASE)
_SCRIPT = re.compile(r".*\.(?:py|sh)")
_STARTING = OWN_LAUNCHERS | {"deepspeed", "bash", "sh", "srun"}


def refusal(commands: Sequence[Command]) -> Fault:
    """Why nothing in a text can be submitted, by what it starts instead."""
    found = (why for command in commands if (why := _why_not(command.words)))
    return Fault("command", next(found, NO_COMMAND))


def second(first: Command, other: Command) -> Fault:
    """What to say of one more command behind the one that is read."""
    if not other.words[0].startswith("-"):
        where = f"the one in line {first.line} is read, the one in line {other.line} is not"
        return Fault(
            "command", f"more than one lm_eval command is in here: {where}; submit them one at a time"
        )
    if first.words[0].startswith("-"):
        message = (
            f"lines {first.line} and {other.line} are flags alone: put those that you want behind one lm_eval"
        )
    else:
        message = f"line {other.line} begins with a flag: a \\ is missing at the end of the line before it"
    return Fault("command", message)


def left_out(command: Command) -> str:
    """The note that names a command which is not run."""
    program = program_of(command.words)
    return f"`{brief(program)}` is not run{_INSTEAD.get(base(program), '')}"


def _why_not(words: Sequence[str]) -> str | None:
    program = base(program_of(words))
    script = next((word for word in words if _SCRIPT.fullmatch(word) and "=" not in word), None)
    if program in _QUEUES:
        return f"{program} hands a script to a queue of its own: paste the script itself (evalq submit {_name(script)})"
    starts = program in _STARTING or is_python(program) or program == base(script or "")
    if starts and any(word in ("...", "\u2026") for word in words):
        return LEFT_OUT
    if script and starts and _TRAINING.search(base(script)):
        return (
            f"`{brief(base(script))}` trains a model, and evalq evaluates models: submit the one that it writes"
            " (lm_eval --model hf --model_args pretrained=FOLDER --tasks ...). Training and evalq share GPUs where an"
            " operator drains a group meanwhile (POST /v1/groups/NAME/drain)"
        )
    return None


def _name(script: str | None) -> str:
    return brief(script) if script and re.fullmatch(r"[\w./-]+", script) else "FILE"
