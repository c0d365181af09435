"""A pasted `lm_eval` command as the fields of a job. Nothing is ever run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.arguments.syntax import parse_gen_kwargs, parse_model_args, parse_names
from app.backends.registry import argument_names
from app.errors import FaultyField as Fault
from app.workloads.lm_eval.command.flag_values import Fields, fields_of
from app.workloads.lm_eval.command.flags import BY_NAME, Fate, read_flags
from app.workloads.lm_eval.command.launchers import Launch, exported, program_of, read_launch, set_environment
from app.workloads.lm_eval.command.shell_words import Command, ShellText, split_commands

_PROMPT = re.compile(r"^[ \t]*(?:\$|!)[ \t]*(?=[A-Za-z_])", re.MULTILINE)
_LONG_DASH = re.compile(r"(?<=\s)[\u2013\u2014]{1,2}(?=[A-Za-z])")


@dataclass(frozen=True)
class ParsedCommand:
    """What a command asks for, in lm-eval's own names; with faults it must not be submitted."""

    fields: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    config_path: str | None = None
    """The file behind `--config`, for a client that can read it."""


def parse_command(
    text: str, variables: Mapping[str, str], config: Mapping[str, Any] | None = None
) -> ParsedCommand:
    """Read a command line, filling `$NAME` and `<name>` from `variables`.

    `config` is what the YAML file behind `--config` holds, where the caller has read it; flags win over it.
    """
    shell = split_commands(_LONG_DASH.sub("--", _PROMPT.sub("", text)), variables)
    launch, command = _find_lm_eval(shell)
    if command is None:
        return ParsedCommand({}, shell.notes, [*shell.faults, *launch.faults, Fault("command", _NO_COMMAND)])
    words, refusals = _without_subcommand(launch.arguments or [])
    flags = read_flags(words)
    fields = fields_of(flags.given)
    said = {fault.message for fault in shell.faults}
    new = [fault for fault in fields.faults if fault.message not in said]
    faults = [*shell.faults, *launch.faults, *refusals, *flags.faults, *new]
    notes = [*shell.notes, *launch.notes, *flags.notes, *fields.notes]
    _merge_config(fields, config, faults, notes)
    _add_launch(fields.values, launch, notes)
    return ParsedCommand(_with_defaults(fields.values, command, notes), notes, faults, fields.config_path)


_NO_COMMAND = "no lm_eval command is in here; it begins with lm_eval, python -m lm_eval or accelerate launch"
_SECOND = "more than one lm_eval command is in here; submit them one at a time"


def _find_lm_eval(shell: ShellText) -> tuple[Launch, Command | None]:
    """The one command that starts lm-eval, with the environment set before it; says what of the rest is left out."""
    found: Launch | None = None
    command: Command | None = None
    before = Launch()
    for index, each in enumerate(shell.commands):
        launch = read_launch(each.words)
        piped = index > 0 and shell.commands[index - 1].ended_by in ("|", "|&")
        if launch.arguments is not None and not piped:
            if found:
                shell.faults.append(Fault("command", _SECOND))
                break
            found, command = launch, each
            _note_shell_parts(each, shell)
        elif (variables := exported(each.words)) is not None:
            set_environment(variables, before)
        else:
            shell.notes.append(f"`{program_of(each.words)}` is not run")
    return _joined(before, found), command


def _joined(before: Launch, found: Launch | None) -> Launch:
    if found is None:
        return before
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


def _merge_config(
    fields: Fields, config: Mapping[str, Any] | None, faults: list[Fault], notes: list[str]
) -> None:
    """Put a configuration file's settings under the flags, as lm-eval does."""
    if fields.config_path is None:
        return
    if config is None:
        message = f"{fields.config_path!r} is a file of your machine: `evalq submit` reads it, HTTP takes its settings"
        faults.append(Fault("command", message))
        return
    for name, value in config.items():
        if name not in BY_NAME:
            faults.append(Fault(f"config.{name}", f"lm_eval run has no setting {name}"))
        elif BY_NAME[name].fate is not Fate.FIELD:
            notes.append(f"{name} in the configuration file is {BY_NAME[name].says}")
        elif name not in fields.values:
            _take_setting(fields.values, name, value, faults)


def _take_setting(values: dict[str, Any], name: str, value: Any, faults: list[Fault]) -> None:
    match name, value:
        case "tasks", str():
            values[name] = parse_names(value)
        case "model_args" | "gen_kwargs" | "metadata", str():
            read = parse_model_args if name == "model_args" else parse_gen_kwargs
            arguments = read(value, f"config.{name}")
            faults += arguments.faults
            values[name] = arguments.values
        case "seed", int():
            values[name] = [value] * 4
        case "trust_remote_code", bool():
            values["model_args"] = {"trust_remote_code": value} | values.get("model_args", {})
        case "config", _:
            return
        case _:
            values[name] = value


def _add_launch(values: dict[str, Any], launch: Launch, notes: list[str]) -> None:
    """Processes of a launcher become replicas; visible devices become a number of GPUs where lm-eval would use all."""
    if launch.env:
        values["env"] = launch.env
    if argument_names(str(values.get("model"))).data_counts_devices:
        return
    processes = launch.processes or (launch.visible_gpus if launch.every_gpu else None)
    if processes:
        values["replicas"] = processes
        notes.append(f"{processes} processes become {processes} replicas, which share the requests")
    elif launch.every_gpu:
        notes.append("the launcher would use every GPU; `replicas` is left to evalq")
    if launch.visible_gpus and values.get("model_args", {}).get("parallelize") is True:
        values["gpus_per_replica"] = max(1, launch.visible_gpus // (launch.processes or 1))


def _with_defaults(values: dict[str, Any], command: Command, notes: list[str]) -> dict[str, Any]:
    if not command.words[0].startswith("-"):
        if "model" not in values:
            notes.append("--model is not given; lm-eval's default is hf")
        if "batch_size" not in values:
            notes.append("--batch_size is not given: evalq uses auto (lm-eval would use 1)")
        values = {"model": "hf", "batch_size": "auto"} | values
    return values
