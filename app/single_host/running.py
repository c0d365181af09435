"""Which evalq runs on this host, and where its servers are: for commands beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from app.settings import Settings
from app.single_host.postgres import running_url as postgres_url
from app.single_host.postgres import stopped_url
from app.single_host.valkey import kept_url as valkey_url

API = ["-m", "app.cli", "api"]
LOOPBACK = {"127.0.0.1", "localhost", "::1", "0.0.0.0", "::"}  # noqa: S104 - recognised, not bound
OF_SERVERS = ("database_url", "redis_url", "data_dir", "lease_seconds", "stall_seconds")


@dataclass(frozen=True)
class Running:
    """An API of this account on this host, and the servers that it was started with."""

    host: str
    port: int
    settings: Settings

    @property
    def url(self) -> str:
        """Where this host reaches it."""
        host = "127.0.0.1" if self.host in LOOPBACK else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def is_at(self, url: str) -> bool:
        """Whether this address leads to it."""
        place = urlsplit(url)
        hosts = LOOPBACK if self.host in LOOPBACK else {self.host}
        with suppress(ValueError):
            return place.hostname in hosts and (place.port or 80) == self.port
        return False


def running() -> list[Running]:
    """Those that run now, the oldest first."""
    return list(_running())


def _running() -> Iterator[Running]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, ValueError, IndexError):
            command = process.cmdline()
            if _is_api(command) and process.uids().real == os.getuid():
                yield _told(command, process.environ(), Path(process.cwd()))


def _is_api(command: list[str]) -> bool:
    modules = [part for part in command[1:] if part != "-P"][:3]
    return modules == API or [Path(part).name for part in command[1:3]] == ["evalq", "api"]


def _told(command: list[str], env: Mapping[str, str], folder: Path) -> Running:
    """What its command line and its environment say of it."""
    given = dict(pairwise(command))
    named = {name: env[f"EVALQ_{name.upper()}"] for name in OF_SERVERS if f"EVALQ_{name.upper()}" in env}
    if "data_dir" in named:
        named["data_dir"] = str(folder / named["data_dir"])
    return Running(
        host=given.get("--host") or env.get("EVALQ_HOST") or "127.0.0.1",
        port=int(given.get("--port") or env.get("EVALQ_PORT") or 8000),
        settings=Settings(**named),  # type: ignore[arg-type] # parsed like the environment
    )


@dataclass(frozen=True)
class Sight:
    """What `evalq doctor` looks at: servers, unless only an address is known; and that in words."""

    settings: Settings | None
    url: str
    says: str


def sight(found: Sequence[Running], *, data: Path | None, url: str | None, otherwise: str) -> Sight:
    """What was named, else what runs here, else the usual places; `otherwise` is the usual address."""
    settings = settings_beside(data)
    named = "database_url" in Settings().model_fields_set
    beside = next((one.url for one in found if _same_folder(one.settings, settings)), None)
    if named:
        return Sight(settings, url or beside or otherwise, "the database of EVALQ_DATABASE_URL")
    if data:
        says = f"`evalq up` in {settings.data_dir}" + ("" if beside else ", which does not run")
        return Sight(settings, url or beside or otherwise, says)
    chosen = [one for one in found if url is None or one.is_at(url)]
    if chosen:
        return _of(sorted(chosen, key=lambda one: not _same_folder(one.settings, settings)), url)
    if url:
        return Sight(None, url, f"{url}, what can be seen over HTTP")
    says = f"the usual places and {settings.data_dir}: no evalq of this account runs here, and none is named"
    return Sight(settings, otherwise, says)


def _of(chosen: Sequence[Running], url: str | None) -> Sight:
    """The first of them; the others are named."""
    one, *others = chosen
    also = f"; see {', '.join(other.url for other in others)} with --url" if others else ""
    says = f"the evalq at {one.url} with its data in {one.settings.data_dir}{also}"
    return Sight(one.settings, url or one.url, says)


def _same_folder(one: Settings, other: Settings) -> bool:
    return one.data_dir.resolve() == other.data_dir.resolve()


def settings_beside(data: Path | None) -> Settings:
    """Settings that lead to the servers which `evalq up` runs in this folder, unless others are named.

    Where it does not run in the folder that was given, they lead to nothing, and never to another database.
    """
    settings = Settings(data_dir=data) if data else Settings()
    urls: dict[str, str | None] = {}
    if "database_url" not in settings.model_fields_set:
        nowhere = stopped_url(settings.data_dir) if data else None
        urls["database_url"] = postgres_url(settings.data_dir / "postgres") or nowhere
    if "redis_url" not in settings.model_fields_set:
        urls["redis_url"] = valkey_url(settings.data_dir / "valkey")
    return settings.model_copy(update={name: url for name, url in urls.items() if url})
