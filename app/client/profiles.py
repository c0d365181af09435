"""Services by name, in a file of one's own that nobody else may read: where each is, and with which key it is asked."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

from app.client.exit_codes import CallError, Exit

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_PLAIN = re.compile(r"[!-~]{1,2000}")
"""What an address or a key can be: no blank, no control character, nothing that a header cannot carry."""
_NOTE = "# Written by `evalq login` and `evalq logout`, which keep no other notes than this one.\n"


@dataclass(frozen=True)
class Profile:
    """A service and the key for it."""

    url: str
    token: str | None = field(default=None, repr=False)

    @property
    def secret(self) -> bool:
        """Whether somebody who reads it could pass for its owner."""
        return bool(self.token) or "@" in urlsplit(self.url).netloc


@dataclass(frozen=True)
class Profiles:
    """All that are kept; `chosen` is the one that is meant where none is named."""

    by_name: Mapping[str, Profile] = field(default_factory=dict)
    chosen: str | None = None

    def named(self, name: str) -> Profile:
        """The profile of that name; wrong usage where there is none."""
        if name not in self.by_name:
            there = ", ".join(sorted(self.by_name)) or "none"
            raise CallError(
                f"there is no profile {name!r}; there are {there}: make it with `evalq login`", Exit.USAGE
            )
        return self.by_name[name]

    def with_profile(self, name: str, profile: Profile) -> Profiles:
        """Also this one, which is meant from now on."""
        return Profiles({**self.by_name, name: profile}, name)

    def without(self, name: str) -> Profiles:
        """All but this one."""
        self.named(name)
        left = {other: profile for other, profile in self.by_name.items() if other != name}
        return Profiles(left, None if self.chosen == name else self.chosen)


def read_profiles(path: Path) -> Profiles:
    """What the file keeps, nothing where there is none; CallError where others may read a key in it, or it is none."""
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read().decode()
    except (FileNotFoundError, NotADirectoryError):
        return Profiles()
    except (OSError, UnicodeDecodeError) as error:
        raise CallError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        found = _profiles(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise CallError(f"{path}: {error}", Exit.USAGE) from None
    if mode & 0o077 and any(profile.secret for profile in found.by_name.values()):
        raise CallError(f"others may read the keys in {path}: chmod 600 {path}", Exit.NOT_ALLOWED)
    return found


@contextmanager
def changing(path: Path) -> Iterator[list[Profiles]]:
    """The profiles in a list of one; what the list holds at the end is kept. Others who change them wait."""
    path = path.resolve()  # a link stays one
    if path.exists() and not path.is_file():
        raise CallError(f"{path} is no file: nothing can be kept in its place")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        kept = [read_profiles(path)]
        yield kept
        _write(path, kept[0])
    finally:
        os.close(folder)


def _write(path: Path, profiles: Profiles) -> None:
    """Whole or not at all, and never for others to read: the file is made for its owner alone."""
    with NamedTemporaryFile("w", dir=path.parent, prefix=".config-", delete=False, encoding="utf-8") as file:
        try:
            file.write(_NOTE + _toml(profiles))
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _toml(profiles: Profiles) -> str:
    lines = [f"profile = {json.dumps(profiles.chosen)}\n"] if profiles.chosen else []
    for name, profile in profiles.by_name.items():
        lines.append(f"\n[profiles.{json.dumps(name)}]\nurl = {json.dumps(profile.url)}\n")
        lines += [f"token = {json.dumps(profile.token)}\n"] if profile.token else []
    return "".join(lines)


def _profiles(document: Mapping[str, Any]) -> Profiles:
    _only(document, "profile", "profiles")
    by_name, chosen = _table(document.get("profiles", {}), "profiles"), document.get("profile")
    found = Profiles(
        {name: _profile(name, _table(fields, f"profiles.{name}")) for name, fields in by_name.items()}
    )
    if chosen is not None and not (isinstance(chosen, str) and chosen in found.by_name):
        raise ValueError(f"profile is {chosen!r}, which is none of its profiles")
    return replace(found, chosen=chosen)


def _table(value: Any, place: str) -> Mapping[str, Any]:
    match value:
        case dict():
            return value
        case _:
            raise ValueError(f"{place} must be a table")


def _profile(name: str, fields: Mapping[str, Any]) -> Profile:
    _only(fields, "url", "token", place=f"profiles.{name}.")
    return made(name, fields.get("url"), fields.get("token"))


def made(name: Any, url: Any, token: Any = None) -> Profile:
    """A profile that can be kept; ValueError, which repeats no key, where one of the three cannot be."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: letters, digits, '.', '_', '@' or '-', at most 64")
    if not isinstance(url, str) or not is_address(url):
        raise ValueError(f"the url of profile {name} must be an address such as https://evalq.internal")
    if token is not None and not (isinstance(token, str) and is_sendable(token)):
        raise ValueError(f"the token of profile {name} must be a text without blanks")
    return Profile(url, token)


def is_sendable(token: str) -> bool:
    """Whether a header can carry it."""
    return _PLAIN.fullmatch(token) is not None


def is_address(url: str) -> bool:
    """Whether a service can be at it."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and _PLAIN.fullmatch(url) is not None


def _only(fields: Mapping[str, Any], *known: str, place: str = "") -> None:
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"there is no setting {place}{unknown[0]}; there are {', '.join(known)}")
