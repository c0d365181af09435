"""Keys of the API, kept by operators directly in the database: no key is needed to make the first one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from app.cli.job_table import age
from app.cli.operations import data_option, parse_age
from app.cli.output import Output, columns, prints
from app.cli.terminal import CliError
from app.client.calls import Json
from app.client.exit_codes import Exit

if TYPE_CHECKING:
    from app.domain.keys import Key
    from app.services.keys import KeyService


@click.group(name="keys")
def keys() -> None:
    """Keys of the API. As soon as there is one, every request needs one."""


@keys.command(name="create")
@click.option("--name", required=True, help="Whose key it is: the owner of the jobs posted with it.")
@click.option(
    "--role",
    type=click.Choice(["viewer", "submitter", "operator"]),
    default="submitter",
    show_default=True,
    help="What it may do: look; also submit and change its team's jobs; everything.",
)
@click.option("--team", default="default", show_default=True, help="Whose jobs it sees.")
@click.option(
    "--expires", metavar="AGE", callback=parse_age, help="When it ends, such as 90d; never if not given."
)
@data_option
@prints
def create(
    out: Output, *, name: str, role: str, team: str, expires: timedelta | None, data: Path | None
) -> None:
    """Make a key and print it. It cannot be shown again."""
    from app.domain.keys import Role

    with _service(data) as service:
        key, token = service.create(name=name, role=Role(role), team=team, lifetime=expires)
    until = f", until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else ""
    article = "an" if role == "operator" else "a"
    out.say(f"key {key.id}: {name} is {article} {role} of team {team}{until}; keep it, it is not shown again")
    if out.as_json:
        out.json(_told(key) | {"token": token})
    else:
        out.data(token)


@keys.command(name="list")
@data_option
@prints
def list_keys(out: Output, data: Path | None) -> None:
    """Show every key without its secret, oldest first."""
    with _service(data) as service:
        found = service.all()
    if out.as_json:
        out.json([_told(key) for key in found])
    elif out.ids_only:
        for key in found:
            out.data(str(key.id))
    else:
        _print_keys(out, found)
    if not found:
        out.say("there are no keys: who reaches the API may do everything")


def _print_keys(out: Output, found: Sequence[Key]) -> None:
    rows = [
        [str(key.id), f"{key.prefix}...", key.name, key.role, key.team, _ago(key.last_used_at), _state(key)]
        for key in found
    ]
    for line in columns(("ID", "KEY", "NAME", "ROLE", "TEAM", "LAST USED", "STATE"), rows) if rows else ():
        out.row(line)


def _told(key: Key) -> Json:
    moments = {name: getattr(key, f"{name}_at") for name in ("created", "last_used", "expires", "revoked")}
    return {
        "id": str(key.id),
        "prefix": key.prefix,
        "name": key.name,
        "role": key.role,
        "team": key.team,
        **{f"{name}_at": moment and moment.isoformat() for name, moment in moments.items()},
    }


@keys.command(name="revoke")
@click.argument("key_id", metavar="ID", type=click.UUID)
@data_option
@prints
def revoke(out: Output, key_id: UUID, data: Path | None) -> None:
    """End a key. Safe to repeat; every API process refuses it within seconds."""
    from app.errors import UnknownKeyError
    from app.services.keys import CACHE_SECONDS

    with _service(data) as service:
        try:
            key = service.revoke(key_id)
        except UnknownKeyError as error:
            raise CliError(str(error), Exit.NOT_FOUND) from None
    if out.as_json:
        out.json(_told(key))
    elif out.ids_only:
        out.data(str(key.id))
    out.say(f"revoked {key.prefix}... of {key.name}; refused everywhere within {CACHE_SECONDS:.0f} s")


@contextmanager
def _service(data: Path | None) -> Iterator[KeyService]:
    """The keys of the database that is named, or of the `evalq up` over a data directory."""
    from app.db.session import check_schema, make_sessions
    from app.services.keys import KeyService
    from app.single_host.running import settings_beside

    settings = settings_beside(data)
    check_schema(settings)
    sessions = make_sessions(settings)
    try:
        yield KeyService(sessions=sessions)
    finally:
        sessions.close()


def _state(key: Key) -> str:
    from app.services.keys import utc_now

    if key.revoked_at:
        return f"revoked {_ago(key.revoked_at)}"
    if key.expires_at is None:
        return "usable"
    when = f"{key.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"until {when}" if key.usable(utc_now()) else f"expired {when}"


def _ago(moment: datetime | None) -> str:
    return f"{age(moment.isoformat())} ago" if moment else "never"
