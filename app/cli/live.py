"""Showing a job while it runs: a live bar for people, a line per change for logs. Both on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from app.cli.describe import changes, left, percent, rate, score, waiting, when, where
from app.cli.terminal import echo
from app.domain.visible import one_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from app.client.calls import Json

MOST_TASKS = 15


def view() -> Bar | Lines:
    """A live bar on a terminal, else lines."""
    return Bar() if sys.stderr.isatty() else Lines()


class Lines:
    """One line for each thing worth saying."""

    def __init__(self) -> None:
        self._last: Json | None = None

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back."""

    def show(self, job: Json) -> None:
        """Say what changed; small steps wait for the next line."""
        lines = changes(self._last, job)
        for line in lines:
            echo(line, err=True)
        if lines or self._last is None:
            self._last = job


class Bar:
    """A bar for the job with percent, rate and time left, and a line for each task."""

    def __init__(self) -> None:
        self._progress = _progress()
        self._rows: dict[str, TaskID] = {}

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, job: Json) -> None:
        """Draw this state."""
        progress = job["progress"]
        pace = (waiting(job), when(job)) if waiting(job) else (rate(job), left(job))
        rest = " ".join(part for part in (f"{percent(job):3.0f} %", *pace) if part)
        self._draw("", where(job), progress["done"], progress.get("total"), rest)
        for task in job["tasks"][:MOST_TASKS]:
            total = task.get("total")
            counted = f"{task['done']}/{total}" if total else ""
            self._draw(task["name"], f"  {task['name']}", task["done"], total, score(task) or counted)

    def _draw(self, key: str, label: str, done: int, total: int | None, rest: str) -> None:
        if key not in self._rows:
            self._rows[key] = self._progress.add_task("", total=None, rest="")
        self._progress.update(
            self._rows[key], description=one_line(label), completed=done, total=total, rest=one_line(rest)
        )


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),  # a metric may be named `acc[/]`
        BarColumn(bar_width=30),
        TextColumn("{task.fields[rest]}", markup=False),
        console=Console(stderr=True),
    )
