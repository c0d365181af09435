"""Which service a verb talks to, and with which key: by options, the environment or a profile."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from app.client.exit_codes import CallError
from app.client.profiles import is_address, is_sendable, read_profiles
from app.domain.redaction import redact

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_PROFILE = "default"


@dataclass(frozen=True)
class Address:
    """A service, the key for it, and the profile that names it."""

    url: str
    token: str | None = field(default=None, repr=False)
    profile: str | None = None
    named: bool = False
    """Whether anybody said so."""


def address(url: str | None = None, profile: str | None = None) -> Address:
    """What is named, else the usual address.

    `--url` and `--profile` go before EVALQ_URL, EVALQ_PROFILE, and the profile that was logged in with last, in this
    order. A profile's key goes to its own address and nowhere else; EVALQ_TOKEN goes before it, unless `--profile`
    says that this one is meant.
    """
    if url and profile:
        raise click.UsageError("either --url or --profile: each names a service")
    token = _token()
    if not profile and (url := url or os.environ.get("EVALQ_URL")):
        if not is_address(url):
            raise click.UsageError(f"{redact(url)!r} is no address such as {DEFAULT_URL}")
        return Address(url, token, named=True)
    kept = read_profiles(config_file())
    if not (name := profile or os.environ.get("EVALQ_PROFILE") or kept.chosen):
        return Address(DEFAULT_URL, token)
    found = kept.named(name)
    first, second = (found.token, token) if profile else (token, found.token)
    return Address(found.url, first or second, name, named=True)


def _token() -> str | None:
    token = os.environ.get("EVALQ_TOKEN") or None
    if token and not is_sendable(token):
        raise click.UsageError("EVALQ_TOKEN holds a blank, or what no key has")
    return token


def config_file() -> Path:
    """`~/.config/evalq/config.toml`, or where XDG_CONFIG_HOME says."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(named) if named.startswith("/") else Path("~/.config").expanduser()
    return folder / "evalq" / "config.toml"


def _kept(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    with suppress(CallError):  # a shell that completes shows no complaint
        return [name for name in read_profiles(config_file()).by_name if name.startswith(incomplete)]
    return []


_PROFILE = click.option(
    "--profile",
    metavar="NAME",
    shell_complete=_kept,
    help="A service that `evalq login` keeps (EVALQ_PROFILE).",
)


def addressed(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options `--url` and `--profile`."""
    url = click.option(
        "--url", metavar="URL", help=f"The service (EVALQ_URL); else the profile's, else {DEFAULT_URL}."
    )
    return url(_PROFILE(verb))
