"""Jobs as they go on: the list drawn anew on a terminal, else a line for each job that is elsewhere than before."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.cli.describe import where
from app.cli.job_table import coloured_lines
from app.cli.output import Output
from app.cli.terminal import stdout_is_terminal
from app.client.calls import Json, UnreachableError

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH_SECONDS = 2.0
Show = Callable[[Sequence[Json]], None]


def watch_list(
    out: Output, ask: Callable[[], Sequence[Json]], *, pause: Callable[[float], None] = time.sleep
) -> None:
    """Until Ctrl-C, which is how it ends; a service that goes away is said once, and asked again."""
    drawn = stdout_is_terminal() and not (out.as_json or out.ids_only)
    asked = _patient(out, ask)
    try:
        with _drawing() if drawn else _telling(out) as show:
            while True:
                if (listed := asked()) is not None:
                    show(listed)
                pause(REFRESH_SECONDS)
    except KeyboardInterrupt:
        return


def _patient(out: Output, ask: Callable[[], Sequence[Json]]) -> Callable[[], Sequence[Json] | None]:
    """The same, or None while the service is away, which is said when it begins."""
    away = False

    def asked() -> Sequence[Json] | None:
        nonlocal away
        try:
            listed = ask()
        except UnreachableError as error:
            if not away:
                out.say(f"{error}; asking again")
            away = True
            return None
        away = False
        return listed

    return asked


@contextmanager
def _telling(out: Output) -> Iterator[Show]:
    seen: dict[str, str] = {}

    def show(listed: Sequence[Json]) -> None:
        moved = [job for job in reversed(listed) if seen.get(job["id"]) != where(job)]
        seen.update((job["id"], where(job)) for job in moved)
        for job in moved:
            out.data(_line(out, job))

    yield show


def _line(out: Output, job: Json) -> str:
    if out.as_json:
        return json.dumps(job, ensure_ascii=False)
    return str(job["id"]) if out.ids_only else coloured_lines([job])[1][0]


@contextmanager
def _drawing() -> Iterator[Show]:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
        yield lambda listed: live.update(drawn_list(listed), refresh=True)


def drawn_list(listed: Sequence[Json]) -> RenderableType:
    """As much of the list as the screen has lines for."""
    from rich.console import Group
    from rich.text import Text

    most = max(shutil.get_terminal_size().lines - 1, 2)
    lines = coloured_lines(listed)[:most] or [("no job matches", None)]
    return Group(
        *(Text(line, style=colour or "", no_wrap=True, overflow="ellipsis") for line, colour in lines)
    )
