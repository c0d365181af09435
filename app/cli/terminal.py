"""The one place that prints: whatever others wrote reaches the terminal as letters, faults included."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

import click

from app.client.exit_codes import Exit
from app.domain.visible import visible


def echo(
    text: str, *, colour: str | None = None, err: bool = False, nl: bool = True, file: IO[Any] | None = None
) -> None:
    """Print a text, in a colour where people see it and want it; nothing in it drives the terminal."""
    click.echo(_coloured(visible(text), colour), err=err, nl=nl, file=file)


def stdout_is_terminal() -> bool:
    """Whether a person reads along: else no colour and nothing is cut short."""
    return sys.stdout.isatty()


def has_screen() -> bool:
    """Whether a browser could show itself here."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _coloured(text: str, colour: str | None) -> str:
    if colour is None or not stdout_is_terminal() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg=colour)


class CliError(click.ClickException):
    """Ends the command with a line on stderr and a code of its own."""

    def __init__(self, message: str, exit_code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # Click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """On stderr, in one line unless there are several faults."""
        echo(f"evalq: {self.format_message()}", file=file, err=file is None)
