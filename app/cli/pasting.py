"""What a user gives a verb as a job: a file, standard input, a quoted text or the words of a command."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from app.arguments.plain_yaml import looks_like_yaml
from app.cli.settings_files import bounded, read_settings, read_text, settings_of
from app.cli.terminal import CliError
from app.client.calls import Json
from app.client.exit_codes import Exit
from app.workloads.lm_eval.command.command_line import parse_command
from app.workloads.lm_eval.command.flags import BY_NAME
from app.workloads.lm_eval.command.launchers import LM_EVAL, STARTERS, base, is_python
from app.workloads.lm_eval.command.processes import is_launchers
from app.workloads.lm_eval.command.variables import ASSIGNMENT

SAFE_WAY = "a text of several lines is pasted safely so: evalq submit - <<'END', the text, and END in a line of its own"


class PastingCommand(click.Command):
    """A verb whose words may be a command with flags of its own: they need no `--` before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's, with `--` before the first word that starts a command."""
        valued = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        at = _first_word(args, valued)
        if at is not None and starts_a_command(args[at]) and len(args) > at + 1:
            args = [*args[:at], "--", *args[at:]]
        return super().parse_args(ctx, args)


def _first_word(args: Sequence[str], valued: set[str]) -> int | None:
    """Where the first word is that is neither an option nor the value of one."""
    skip = False
    for index, word in enumerate(args):
        if word == "--":
            return None
        if not skip and (word == "-" or not word.startswith("-")):
            return index
        skip = not skip and word in valued
    return None


def starts_a_command(word: str) -> bool:
    """Whether a word is a program that starts evaluations, or an assignment before one."""
    program = base(word)
    return program in STARTERS or is_python(program) or ASSIGNMENT.fullmatch(word) is not None


@dataclass
class Given:
    """What stands beside the text."""

    values: Mapping[str, str] = field(default_factory=dict)
    files: dict[str, Json] = field(default_factory=dict)
    read_along: list[str] = field(default_factory=list)
    """Files that the text names and that were found on this machine."""


def body_of(words: Sequence[str], given: Given) -> Json:
    """The body to post; wrong usage, in words, where nothing can be made of what was given."""
    if not words:
        return _beside("lm_eval run", given, Path())
    if len(words) > 1:
        return _beside(_command(words), given, Path())
    (word,) = words
    if word == "-":
        return _read(bounded(sys.stdin.read(), "standard input"), "standard input", given, Path())
    if (path := _file(word)) is not None:
        return _read(read_text(path), word, given, path.parent)
    if re.search(r"\s", word) or word.startswith("{"):
        return _read(bounded(word, "the text"), "the text", given, Path())
    raise CliError(f"{word} cannot be read: no such file ({SAFE_WAY})", Exit.USAGE)


def _command(words: Sequence[str]) -> str:
    """Words of this shell as a command again; its own options must not have slipped in between."""
    if not starts_a_command(words[0]) and _file(words[0]) is not None:
        raise CliError("give one file, or one command", Exit.USAGE)
    at = next((index for index, word in enumerate(words) if base(word) in LM_EVAL), 0)
    own, behind = _own_options(), (word.partition("=")[0] for word in words[at:])
    if mine := next((name for name in behind if name in own), None):
        raise CliError(f"{mine} is evalq's own option: put it before {words[0]}", Exit.USAGE)
    return shlex.join(words)


def _own_options() -> set[str]:
    """Options of the verb that is being run, but for those that lm-eval has, too."""
    params = click.get_current_context().command.params
    named = {name for option in params if isinstance(option, click.Option) for name in option.opts}
    return {name for name in named if name.startswith("--") and name[2:] not in BY_NAME}


def _file(word: str) -> Path | None:
    try:
        return Path(word) if Path(word).exists() else None
    except (OSError, ValueError):  # a text that is too long for a name
        return None


def _read(text: str, name: str, given: Given, folder: Path) -> Json:
    """JSON, lm-eval's YAML, or a command; the first line tells which."""
    if not text.strip():
        raise CliError(f"{name} holds nothing", Exit.USAGE)
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        return _json(text, name, given, folder)
    if not looks_like_yaml(text):
        return _beside(text, given, folder)
    settings = settings_of(text, name)
    if is_launchers(settings):
        message = f"{name} holds settings of accelerate: give them beside a command (evalq submit --config FILE ...)"
        raise CliError(message, Exit.USAGE)
    given.files[name] = settings
    return _beside(f"lm_eval run --config {shlex.quote(name)}", given, folder)


def _json(text: str, name: str, given: Given, folder: Path) -> Json:
    try:
        body = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise CliError(f"{name} is not JSON: {error}", Exit.USAGE) from None
    if not isinstance(body, dict):
        raise CliError(f"{name} must hold one JSON object", Exit.USAGE)
    if isinstance(command := body.get("command"), str):
        return body | _beside(command, given, folder)
    if given.values or given.files:
        raise CliError("--set and --config are for a command, and this is JSON without one", Exit.USAGE)
    return body


def _beside(command: str, given: Given, folder: Path) -> Json:
    """A command with the values that were given, and the files that it names."""
    for name in parse_command(command, given.values, given.files).file_names:
        places = (
            place for place in (Path(name), folder / name) if name not in given.files and place.is_file()
        )
        if (found := next(places, None)) is not None:
            given.files[name] = read_settings(found)
            given.read_along.append(name)
    beside = {"variables": dict(given.values), "files": given.files}
    return {"command": command} | {name: value for name, value in beside.items() if value}
