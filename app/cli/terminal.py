"""The one place that prints: whatever others wrote reaches the terminal as letters."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

import click

from app.domain.visible import visible


def echo(
    text: str, *, colour: str | None = None, err: bool = False, nl: bool = True, file: IO[Any] | None = None
) -> None:
    """Print a text, in a colour where people see it and want it; nothing in it drives the terminal."""
    click.echo(_coloured(visible(text), colour), err=err, nl=nl, file=file)


def stdout_is_terminal() -> bool:
    """Whether a person reads along: else no colour and nothing is cut short."""
    return sys.stdout.isatty()


def _coloured(text: str, colour: str | None) -> str:
    if colour is None or not stdout_is_terminal() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg=colour)
