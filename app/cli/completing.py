"""What a shell offers behind Tab: jobs and groups. Quick or nothing, and never a complaint."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread
from typing import Any

import click
from click.shell_completion import CompletionItem

from app.cli.address import address
from app.client.calls import LAST, Api
from app.domain.visible import one_line

SECONDS = 0.3
MOST = 50

Items = list[CompletionItem[str]]


def jobs(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """The newest jobs, by id."""
    if incomplete.startswith("@"):
        return _beginning(incomplete, [(LAST, "your newest job")])
    return _beginning(incomplete, _within(ctx, _newest))


def groups(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """The GPU groups."""
    return _beginning(incomplete, _within(ctx, _groups))


def _newest(api: Api) -> Iterable[tuple[str, str]]:
    found = api.get("/v1/jobs", limit=MOST)["data"]
    return [(str(job["id"]), f"{job['status']} {job.get('name') or job.get('model') or ''}") for job in found]


def _groups(api: Api) -> Iterable[tuple[str, str]]:
    return [(str(group["name"]), str(group["host"])) for group in api.get("/v1/groups")["data"]]


def _within(ctx: click.Context, ask: Callable[[Api], Iterable[tuple[str, str]]]) -> list[tuple[str, str]]:
    """What the service says in time. A shell waits for us, and shows whatever we print in the middle of its line."""
    found: list[tuple[str, str]] = []

    def run() -> None:
        with suppress(Exception):
            place = address(ctx.params.get("url"), ctx.params.get("profile"))
            with Api(place.url, place.token) as api:
                found.extend(ask(api))

    asking = Thread(target=run, daemon=True)
    asking.start()
    asking.join(SECONDS)
    return list(found)


def _beginning(incomplete: str, offered: Iterable[tuple[str, str]]) -> Items:
    """What others named is shown as letters, and offered only where it is one word of them."""
    return [
        CompletionItem(value, help=one_line(about))
        for value, about in offered
        if value.startswith(incomplete) and _word(value)
    ]


def _word(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value != ""
        and value.isprintable()
        and not set(value) & set(" '\"\\$`;&|<>(){}*?!#~")
    )
