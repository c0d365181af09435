"""A pasted `lm_eval` command as the fields of a job. Nothing is ever run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from app.backends.registry import argument_names
from app.errors import FaultyField as Fault
from app.workloads.lm_eval.command.flag_values import Fields, fields_of
from app.workloads.lm_eval.command.flags import BY_NAME, Fate, FlagWords, read_flags
from app.workloads.lm_eval.command.launchers import Launch, read_launch, set_environment
from app.workloads.lm_eval.command.other_programs import left_out, refusal, second
from app.workloads.lm_eval.command.processes import Processes, config_file, read_processes
from app.workloads.lm_eval.command.sbatch import read_directives
from app.workloads.lm_eval.command.settings_files import merge_settings
from app.workloads.lm_eval.command.shell_blocks import Command
from app.workloads.lm_eval.command.shell_words import ShellText, split_commands
from app.workloads.lm_eval.command.variables import SECRET

_PROMPT = re.compile(
    r"^[ \t]*(?:\([\w.-]+\)[ \t]*)?(?:[\w.-]+@[\w.-]+[^\s$#]*[ \t]?[$#][ \t]+|\$[ \t]+|![ \t]*)(?=[A-Za-z_])",
    re.MULTILINE,
)
_LONG_DASH = re.compile(r"(?<=\s)[\u2013\u2014]{1,2}(?=[A-Za-z])")
Files = Mapping[str, Mapping[str, Any]]
NO_FILES: Files = MappingProxyType({})


@dataclass(frozen=True)
class ParsedCommand:
    """What a command asks for, in lm-eval's own names; with faults it must not be submitted."""

    fields: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    file_names: tuple[str, ...] = ()
    """Files that the command names, for a client that can read them."""
    unsure: frozenset[str] = frozenset()
    """Fields that a fault tells of already: what else is wrong with their values follows from it."""


def parse_command(text: str, variables: Mapping[str, str], files: Files = NO_FILES) -> ParsedCommand:
    """Read a command line or a script, filling `$NAME` and `<name>` from `variables` and from plain assignments.

    `files` is what files of settings hold: lm-eval's `--config`, over which flags win, and accelerate's
    `--config_file`. One that no command names is used all the same.
    """
    allocation = read_directives(text)
    shell = split_commands(_LONG_DASH.sub("--", _PROMPT.sub("", text)), variables, allocation.variables)
    launch, command, others = _find_lm_eval(shell)
    if command is None:
        faults = [*shell.faults, *launch.faults, refusal(shell.commands)]
        return ParsedCommand({}, list(dict.fromkeys([*allocation.notes(), *shell.notes])), faults)
    words, refusals = _without_subcommand(launch.arguments or [])
    flags = read_flags(words)
    fields = fields_of(flags.given)
    processes = read_processes(launch, allocation, files)
    merge_settings(fields, files)
    unread = _unread(shell, [*_mattering(words, flags), *processes.mattering, *launch.env.values()])
    _add_launch(fields, launch, processes)
    notes = [*allocation.notes(), *shell.notes, *launch.notes, *processes.notes, *flags.notes, *fields.notes]
    found = [*launch.faults, *processes.faults, *refusals, *flags.faults, *fields.faults]
    faults = [*shell.faults, *unread.values(), *_beside(unread, found), *others]
    values = _with_defaults(fields.values, command, notes)
    return ParsedCommand(
        values,
        list(dict.fromkeys(notes)),
        faults,
        _file_names(fields, launch),
        _unsure(flags, unread, faults),
    )


def _find_lm_eval(shell: ShellText) -> tuple[Launch, Command | None, list[Fault]]:
    """The first command that starts lm-eval, with the environment set before it; says what of the rest is left out."""
    found, first = Launch(), None
    others: list[Fault] = []
    exported: dict[str, str] = {}
    for before, command in zip([None, *shell.commands], shell.commands, strict=False):
        if command.assigned is not None:
            exported |= _exported(command, shell) if first is None else {}
            continue
        launch = read_launch(command.words)
        piped = before is not None and before.ended_by in ("|", "|&")
        if launch.arguments is None or piped:
            shell.notes.append(left_out(command))
        elif first is None:
            found, first = launch, command
            _note_shell_parts(command, shell)
        else:
            others = others or [second(first, command)]
    ahead = Launch()
    set_environment(exported, ahead)
    return _joined(ahead, found), first, others


def _exported(command: Command, shell: ShellText) -> dict[str, str]:
    """What an engine would inherit; what only the text itself uses, and plain assignments, it does not need."""
    assigned = command.assigned or {}
    kept = {name: value for name, value in assigned.items() if name not in shell.used}
    if not command.exported:
        return {
            name: value
            for name, value in kept.items()
            if name == "CUDA_VISIBLE_DEVICES" or SECRET.search(name)
        }
    shell.notes += [
        f"{name} is used in the text, and is not set for the engines"
        for name in assigned.keys() - kept.keys()
    ]
    return kept


def _joined(before: Launch, found: Launch) -> Launch:
    found.env = before.env | found.env
    found.notes = before.notes + found.notes
    found.faults = before.faults + found.faults
    found.visible_gpus = before.visible_gpus if found.visible_gpus is None else found.visible_gpus
    return found


def _note_shell_parts(command: Command, shell: ShellText) -> None:
    if command.redirected:
        shell.notes.append("redirections are left out: the output is kept with the job")
    if command.ended_by == "&":
        shell.notes.append("& is left out: a job always runs in the background")


def _without_subcommand(words: list[str]) -> tuple[list[str], list[Fault]]:
    if words[:1] == ["run"]:
        return words[1:], []
    if words[:1] in (["ls"], ["validate"]):
        message = f"`lm_eval {words[0]}` evaluates nothing; `evalq tasks` or GET /v1/tasks shows the tasks"
        return [], [Fault("command", message)]
    return words, []


def _mattering(words: Sequence[str], flags: FlagWords) -> list[str]:
    """The words that change the job: not the values of flags that it does not need."""
    needless = {
        word
        for name, times in flags.given.items()
        if BY_NAME[name].fate is Fate.NOTE
        for values in times
        for word in values
    }
    return [word for word in words if word not in needless and word.partition("=")[2] not in needless]


def _unread(shell: ShellText, mattering: Iterable[str]) -> dict[str, Fault]:
    """By what was written, a fault for each part without a value that a word of these holds."""
    text = "\n".join(mattering)
    return {
        written: Fault("command", message) for written, message in shell.unread.items() if written in text
    }


def _beside(unread: Mapping[str, Fault], faults: Iterable[Fault]) -> list[Fault]:
    """The faults that are more than another word for a value that is missing."""
    said = {fault.message for fault in unread.values()}
    return [
        fault
        for fault in faults
        if fault.message not in said and not any(written in fault.message for written in unread)
    ]


def _unsure(flags: FlagWords, unread: Mapping[str, Fault], faults: Iterable[Fault]) -> frozenset[str]:
    words = {
        name: "\n".join(word for words in times for word in words) for name, times in flags.given.items()
    }
    missing = {name for name, text in words.items() if any(written in text for written in unread)}
    return frozenset(missing | {fault.path.partition(".")[0] for fault in faults})


def _add_launch(fields: Fields, launch: Launch, processes: Processes) -> None:
    """Processes of a launcher become replicas; visible devices become a number of GPUs where lm-eval would use all."""
    values, notes = fields.values, fields.notes
    if launch.env:
        values["env"] = launch.env
    names = argument_names(str(values.get("model")))
    if names.data_counts_devices:
        if processes.machines > 1:
            message = f"{values['model']} runs on one machine only, not on {processes.machines}; use replicas for more"
            fields.faults.append(Fault("command", message))
        elif processes.count:
            notes.append(
                f"{processes.world} of the launcher is left out: `devices` in model_args counts the GPUs"
            )
        return
    if processes.count:
        values["replicas"] = processes.count
        notes.append(f"{processes.world} becomes {processes.count} replicas, which share the requests")
    if processes.visible_gpus and values.get("model_args", {}).get("parallelize") is True:
        values["gpus_per_replica"] = max(1, processes.visible_gpus // processes.per_machine)


def _with_defaults(values: dict[str, Any], command: Command, notes: list[str]) -> dict[str, Any]:
    if not command.words[0].startswith("-"):
        if "model" not in values:
            notes.append("--model is not given; lm-eval's default is hf")
        if "batch_size" not in values:
            notes.append("--batch_size is not given: evalq uses auto (lm-eval would use 1)")
        values = {"model": "hf", "batch_size": "auto"} | values
    return values


def _file_names(fields: Fields, launch: Launch) -> tuple[str, ...]:
    names = [fields.config_path, config_file(launch)]
    return tuple(name for name in names if name)
