"""The story of `evalq up`: servers, schema, parts, then watch over them until told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from app.errors import LocalStartError
from app.settings import Settings
from app.single_host.data_directory import locked, socket_folder
from app.single_host.parts import LocalGroup, Part, evalq_parts
from app.single_host.ports import check_port_is_free
from app.single_host.postgres import Postgres
from app.single_host.preparing import prepare
from app.single_host.processes import last_line
from app.single_host.stopping import StopAskedError, StopRequest
from app.single_host.supervisor import Crew
from app.single_host.valkey import Valkey

READY_SECONDS = 120.0
MEND_SECONDS = 0.5
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - recognised, not bound

Say = Callable[[str], None]


@dataclass(frozen=True)
class LocalService:
    """What `evalq up` is asked to run."""

    host: str
    port: int
    data: Path
    groups: tuple[LocalGroup, ...]

    @property
    def url(self) -> str:
        """Where this machine reaches the API."""
        host = "127.0.0.1" if self.host in ANYWHERE else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def run(service: LocalService, *, say: Say, ready: Say) -> int:
    """Run until told to stop; the exit code. LocalStartError and its like say in one line why it cannot start."""
    request = StopRequest().listen()
    crew = Crew(say=say)
    with ExitStack() as stack:
        data = stack.enter_context(locked(service.data.expanduser().resolve()))
        check_port_is_free(service.host, service.port, request)
        sockets = stack.enter_context(socket_folder(data))
        try:
            settings = _start_servers(crew, data, sockets, request, say)
            found = prepare(settings)
            if found.migrated:
                say("the database has this version's schema now")
            _start_parts(crew, service, data, settings, guarded=found.has_keys)
            _await_ready(crew, service, request)
            ready(service.url)
            _watch(crew, request)
        except StopAskedError:
            pass
        finally:
            say("stopping; a second Ctrl-C stops at once")
            crew.stop(request)
    return 130 if request.hurried else 0


def _start_servers(crew: Crew, data: Path, sockets: Path, request: StopRequest, say: Say) -> Settings:
    """Our servers where none are named; the settings that lead to them."""
    named = Settings().model_fields_set
    urls: dict[str, Any] = {}
    if "database_url" not in named:
        log = data / "logs" / "postgres.log"
        postgres = Postgres(folder=data / "postgres", sockets=sockets, log=log, stop=request, say=say)
        crew.start(
            Part(
                "postgres",
                postgres.launch,
                log,
                0,
                postgres.await_ready,
                postgres.stop_signal,
                grace_seconds=60,
            )
        )
        urls["database_url"] = postgres.url
    if "redis_url" not in named:
        log = data / "logs" / "valkey.log"
        valkey = Valkey(folder=data / "valkey", log=log, stop=request)
        crew.start(Part("valkey", valkey.launch, log, 1, valkey.await_ready))
        urls["redis_url"] = valkey.url
    return Settings(**urls, data_dir=data)


def _start_parts(crew: Crew, service: LocalService, data: Path, settings: Settings, *, guarded: bool) -> None:
    env = {
        **os.environ,
        "EVALQ_DATABASE_URL": settings.database_url,
        "EVALQ_REDIS_URL": settings.redis_url,
        "EVALQ_DATA_DIR": str(data),
        "EVALQ_HOST": service.host,
        "EVALQ_PORT": str(service.port),
    }
    if service.host in LOOPBACK and not guarded:
        env.setdefault("EVALQ_ANY_MODEL_PATH", "true")
    for part in evalq_parts(
        host=service.host, port=service.port, groups=service.groups, env=env, logs=data / "logs"
    ):
        crew.start(part)


def _await_ready(crew: Crew, service: LocalService, request: StopRequest) -> None:
    """Wait until the API says that it is ready; a part that dies before is the reason why it will not be."""
    ask = build_opener(ProxyHandler({})).open  # a client library would stay in this process for good

    def ready() -> bool:
        if dead := crew.first_dead():
            why = last_line(dead.part.log)
            raise LocalStartError(f"{dead.part.name} did not start: {why} (log: {dead.part.log})")
        try:
            ask(f"{service.url}/readyz", timeout=5).close()
        except (OSError, HTTPException):  # nobody listens yet, or it is not ready
            return False
        return True

    if not request.wait_until(ready, READY_SECONDS):
        raise LocalStartError(
            f"the API was not ready within {READY_SECONDS:.0f} s (logs: {service.data}/logs)"
        )


def _watch(crew: Crew, request: StopRequest) -> None:
    while not request.asked:
        crew.mend_once()
        request.pause(MEND_SECONDS)
