"""Looks at everything evalq needs, all at once and for a bounded time, and says what is wrong and what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version

from app.errors import EvalqError
from app.services.doctor.cluster import look_at_cluster
from app.services.doctor.finding import Finding, State, fault
from app.services.doctor.host import look_at_host, look_at_processes
from app.services.doctor.hub import look_at_hub
from app.services.doctor.over_http import look_over_http
from app.services.doctor.servers import look_at_api, look_at_broker, look_at_database
from app.settings import Settings

__all__ = ["Finding", "State", "examine", "examine_over_http"]

PATIENCE_SECONDS = 6.0
"""For all looks together: each has a thread that is left behind if a server hangs."""

Look = Callable[[], list[Finding]]


def examine(settings: Settings, url: str) -> list[Finding]:
    """Every finding, servers first; what is read from the database only where it answers."""
    servers = look_all(
        {
            "database": partial(look_at_database, settings),
            "broker": partial(look_at_broker, settings),
            "api": partial(look_at_api, url),
            "host": partial(look_at_host, settings),
            "hub": partial(look_at_hub, settings),
        }
    )
    if any(found.check in {"database", "schema"} and found.state is State.FAULT for found in servers):
        return servers
    return servers + look_all(
        {
            "cluster": partial(look_at_cluster, settings, version("evalq")),
            "processes": partial(look_at_processes, settings),
        }
    )


def examine_over_http(url: str, token: str | None) -> list[Finding]:
    """Every finding that the service's own address allows."""
    return look_all({"api": partial(look_over_http, url, token, version("evalq"))})


def look_all(looks: Mapping[str, Look], seconds: float = PATIENCE_SECONDS) -> list[Finding]:
    """What each of them finds, in order; one that fails or hangs is a fault itself."""
    found: dict[str, list[Finding]] = {}

    def look_once(name: str, look: Look) -> None:
        found[name] = _attempt(name, look)

    threads = [threading.Thread(target=look_once, args=item, daemon=True) for item in looks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    late = f"no answer within {seconds:g} s"
    advice = "it hangs, or the way to it is blocked: see its own log"
    return [finding for name in looks for finding in found.get(name) or [fault(name, late, advice)]]


def _attempt(name: str, look: Look) -> list[Finding]:
    try:
        return look()
    except EvalqError as error:
        return [fault(name, str(error), f"see docs/troubleshooting.md, {error.code}")]
    except Exception as error:  # noqa: BLE001 - a look that fails must not hide the others
        return [fault(name, f"it could not be looked at: {type(error).__name__}: {error}", "see the message")]
