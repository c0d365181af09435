"""`evalq up`: the whole service on this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from app.cli.address import DEFAULT_URL
from app.cli.terminal import echo


@click.command(name="up")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the API listens on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port of the API."
)
@click.option("--data", type=click.Path(path_type=Path), help="Where everything is kept (EVALQ_DATA_DIR).")
@click.option(
    "--group",
    "groups",
    metavar="NAME=DEVICES",
    multiple=True,
    help="A GPU group: NAME=0,1,2,3, NAME=all or NAME=cpu:2. Repeatable. Without it: all GPUs, else one CPU slot.",
)
def up(host: str, port: int, data: Path | None, groups: Sequence[str]) -> None:
    """Run the whole service on this machine until Ctrl-C; a second Ctrl-C stops at once.

    Postgres and Valkey run in the data directory unless EVALQ_DATABASE_URL and EVALQ_REDIS_URL name others.
    What is there when it starts goes on where it stopped.
    """
    from app.settings import current
    from app.single_host.parts import found_groups, parse_groups
    from app.single_host.up import LocalService, run

    named = parse_groups(groups)
    service = LocalService(
        host=host,
        port=port,
        data=data or current().data_dir,
        groups=tuple(named or found_groups()),
    )
    echo(f"starting in {service.data}", err=True)
    sys.exit(run(service, say=_say, ready=lambda url: _say_ready(service.groups, url)))


def _say(line: str) -> None:
    echo(line, err=True)


def _say_ready(groups: Sequence[object], url: str) -> None:
    from app.backends import BACKENDS, installed
    from app.settings import current

    echo(f"evalq is ready at {url}")
    for group in groups:
        _say(f"  {group}")
    if url != DEFAULT_URL:
        _say(f"  export EVALQ_URL={url}")
    if not any(BACKENDS[name].lock for name in installed(current().cache_dir)):
        _say("  evalq backends install hf      makes the environment that runs models; once")
    _say("  evalq submit FILE.json --watch    posts a job and follows it")
    _say("  evalq jobs, evalq --help          show what is there; Ctrl-C stops everything")
