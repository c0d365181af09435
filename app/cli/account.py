"""Who asks, and where."""

from __future__ import annotations

import click

from app.cli.output import Output, talks
from app.client.calls import Api, Json
from app.domain.visible import one_line


@click.command(name="whoami")
@talks
def whoami(api: Api, out: Output) -> None:
    """Say as whom the service knows you, and which service that is."""
    me = api.get("/v1/me")
    if out.as_json:
        out.json(me | {"url": api.url})
    else:
        out.data(one_line(me["name"] if out.ids_only else told(me, api.url)))


def told(me: Json, url: str) -> str:
    """`alice, submitter of team nlp, at https://evalq.internal`."""
    return f"{me['name']}, {me['role']} of team {me['team']}, at {url}"
