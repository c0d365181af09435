"""YAML of this machine as JSON that can be posted: lm-eval's `--config`, and what accelerate keeps its answers in."""

from __future__ import annotations

from pathlib import Path

from app.arguments.plain_yaml import plain_yaml
from app.cli.terminal import CliError
from app.client.calls import Json
from app.client.exit_codes import Exit
from app.workloads.lm_eval.command.flags import BY_NAME
from app.workloads.lm_eval.command.processes import is_launchers

MOST_CHARACTERS = 1024 * 1024


def settings_of(text: str, name: str) -> Json:
    """What a file of settings holds; wrong usage, with the reason, where it is no such file."""
    try:
        plain = plain_yaml(text)
    except ValueError as error:
        raise _refused(name, str(error)) from None
    if not plain.keys() & BY_NAME.keys() and not is_launchers(plain):
        raise _refused(name, "holds no setting of lm_eval or accelerate, and is not sent anywhere")
    return plain


def read_settings(path: Path) -> Json:
    """The settings in a file of this machine."""
    return settings_of(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A text file of bounded size; wrong usage, with the reason, where it is none."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except OSError as error:
        raise _refused(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _refused(str(path), "is no text in UTF-8") from None
    return bounded(text, str(path))


def bounded(text: str, name: str) -> str:
    """The text, or wrong usage where it is longer than any job."""
    if len(text) > MOST_CHARACTERS:
        raise _refused(name, f"has more than {MOST_CHARACTERS} characters")
    return text


def _refused(name: str, why: str) -> CliError:
    return CliError(f"{name} {why}", Exit.USAGE)
