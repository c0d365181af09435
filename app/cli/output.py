"""What verbs print: data on stdout, everything else on stderr."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from app.cli.address import address, addressed
from app.cli.terminal import echo, stdout_is_terminal
from app.client.calls import Api
from app.domain.visible import hanging, one_line

SHORT_ID = 13  # the time in an id, to the millisecond


@dataclass(frozen=True)
class Output:
    """One switch: for people, as JSON, or ids only."""

    as_json: bool = False
    ids_only: bool = False

    def data(self, line: str, colour: str | None = None) -> None:
        """A line of what was asked for."""
        echo(line, colour=colour)

    def row(self, line: str, colour: str | None = None) -> None:
        """A line of a table, which a terminal shows as far as it is wide."""
        self.data(fitted(line), colour)

    def json(self, document: Any) -> None:
        """What was asked for, as JSON."""
        echo(json.dumps(document, indent=2 if stdout_is_terminal() else None, ensure_ascii=False))

    def say(self, line: str) -> None:
        """Progress or a hint; silent with -q."""
        if not self.ids_only:
            echo(hanging(line), err=True)

    def jobs(self, jobs: Sequence[dict[str, Any]], human: Callable[[Sequence[dict[str, Any]]], None]) -> None:
        """Jobs in the way that was asked for."""
        if self.as_json:
            self.json(list(jobs))
        elif self.ids_only:
            for job in jobs:
                self.data(job["id"])
        else:
            human(jobs)


def short(job_id: str) -> str:
    """A prefix of an id that is enough to name it, or all of it where nobody's screen is narrow."""
    return job_id[:SHORT_ID] if stdout_is_terminal() else job_id


def fitted(line: str) -> str:
    """The line as far as a terminal is wide; all of it where nobody's screen is narrow."""
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width or not stdout_is_terminal() else f"{line[: width - 1]}…"


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows under a header, aligned, each in one line."""
    table = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def prints(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb `out`, and the options behind it."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option("-q", "--quiet", "ids_only", is_flag=True, help="Print ids only, and no hints.")
    @functools.wraps(verb)
    def with_output(as_json: bool, ids_only: bool, **options: Any) -> Any:
        return verb(out=Output(as_json=as_json, ids_only=ids_only), **options)

    return with_output


def talks(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb `api` and `out`, and the options behind them."""

    @prints
    @addressed
    @functools.wraps(verb)
    def with_api(url: str | None, profile: str | None, **options: Any) -> Any:
        # A token on a command line is seen by everybody on the machine, so it has no option.
        place = address(url, profile)
        with Api(place.url, place.token) as api:
            return verb(api=api, **options)

    return with_api
