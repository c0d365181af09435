"""Who asks, and where: whoami, login, logout."""

from __future__ import annotations

import os
import sys

import click

from app.cli.address import DEFAULT_PROFILE, DEFAULT_URL, address, addressed, config_file
from app.cli.output import Output, prints
from app.cli.terminal import CliError
from app.client.calls import Api, Json
from app.client.exit_codes import Exit
from app.client.profiles import Profile, changing, made, read_profiles
from app.domain.redaction import redact
from app.domain.visible import one_line

_profile = click.option(
    "--profile", metavar="NAME", help="Its name (EVALQ_PROFILE); `default`, unless given."
)


@click.command(name="whoami")
@prints
@addressed
def whoami(out: Output, url: str | None, profile: str | None) -> None:
    """Say as whom the service knows you, which service that is, and which profile names it."""
    place = address(url, profile)
    with Api(place.url, place.token) as api:
        me = api.get("/v1/me")
    if out.as_json:
        out.json(me | {"url": api.url, "profile": place.profile})
    else:
        out.data(one_line(me["name"] if out.ids_only else _told(me, api.url, place.profile)))


@click.command(name="login")
@_profile
@click.option("--url", metavar="URL", help="The service; as before, else EVALQ_URL, unless given.")
@prints
def login(out: Output, url: str | None, profile: str | None) -> None:
    """Keep a service and your key for it in ~/.config/evalq/config.toml, which only you can read.

    The key is asked for, or is the first line of standard input; an empty one is none. It is tried before it is kept,
    and never shown. The profile is meant from now on where none is named.
    """
    name = _named(profile)
    before = read_profiles(config_file()).by_name.get(name)
    where = url or (before.url if before else None) or os.environ.get("EVALQ_URL") or DEFAULT_URL
    wanted = _profile_of(name, where)
    with Api(wanted.url, wanted.token) as api:
        me = api.get("/v1/me")
    try:
        with changing(config_file()) as kept:
            kept[0] = kept[0].with_profile(name, wanted)
    except OSError as error:
        raise CliError(f"{config_file()} cannot be written: {error.strerror}") from None
    if out.as_json:
        out.json(me | {"url": api.url, "profile": name})
    else:
        out.data(one_line(name if out.ids_only else _told(me, api.url, name)))
    for variable in ("EVALQ_URL", "EVALQ_TOKEN"):
        if os.environ.get(variable):
            out.say(f"{variable} is set, and goes before the profile unless --profile names it")


@click.command(name="logout")
@_profile
@prints
def logout(out: Output, profile: str | None) -> None:
    """Forget a profile with its key. The key stays good until an operator revokes it."""
    name = _named(profile)
    try:
        with changing(config_file()) as kept:
            kept[0] = kept[0].without(name)
    except OSError as error:
        raise CliError(f"{config_file()} cannot be written: {error.strerror}") from None
    out.json({"profile": name, "forgotten": True}) if out.as_json else out.data(name)


def _named(profile: str | None) -> str:
    return profile or os.environ.get("EVALQ_PROFILE") or DEFAULT_PROFILE


def _profile_of(name: str, url: str) -> Profile:
    try:
        made(name, url)  # before a key is asked for that could not be kept
        return made(name, url, _token(redact(url)) or None)
    except ValueError as error:
        raise CliError(str(error), Exit.USAGE) from None


def _token(url: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    asked = f"Key for {url} (none: Enter)"
    return str(click.prompt(asked, default="", show_default=False, hide_input=True, err=True)).strip()


def _told(me: Json, url: str, profile: str | None) -> str:
    """`alice, submitter of team nlp, at https://evalq.internal (profile lab)`."""
    named = f" (profile {profile})" if profile else ""
    return f"{me['name']}, {me['role']} of team {me['team']}, at {url}{named}"
