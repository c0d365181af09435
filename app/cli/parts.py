"""The parts of a deployment, one process each: api, scheduler, worker, migrate."""

from __future__ import annotations

import os
import sys
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import click

from app.cli.terminal import echo

if TYPE_CHECKING:
    from app.settings import Settings

CELERY = ("-P", "-m", "workers")
"""With `-P` nothing is imported from the current folder."""
GRACE_SECONDS = 5


@click.command(name="api")
@click.option("--host", help="Address to listen on (EVALQ_HOST).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (EVALQ_PORT).")
@click.option(
    "--processes", type=click.IntRange(1), default=1, show_default=True, help="Processes that answer."
)
def api(host: str | None, port: int | None, processes: int) -> None:
    """Run the HTTP API."""
    if host:
        os.environ["EVALQ_HOST"] = host
    if port:
        os.environ["EVALQ_PORT"] = str(port)

    import uvicorn

    from app.db.session import check_schema
    from app.log_lines import set_up
    from app.services.keys import check_exposure, keep_bootstrap_key
    from app.settings import current
    from app.single_host.ports import check_port_is_free

    set_up(current().log_format)
    check_port_is_free(current().host, current().port)
    check_schema(current())
    keep_bootstrap_key(current())
    check_exposure(current())
    _allow_many_connections()
    uvicorn.run("app.main:create_app", factory=True, workers=processes, **uvicorn_options(current()))


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """How uvicorn is to listen, log, and whom it is to believe who the client is."""
    from app.log_lines import as_configured

    return {
        "host": settings.host,
        "port": settings.port,
        "http": "app.web.connections:BoundedHttp",
        "ws": "none",
        "log_config": as_configured(settings.log_format),
        # By itself uvicorn believes whatever connects from this machine.
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": list(settings.trusted_proxies),
        # An open event stream would otherwise hold the process for ever.
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }


def _allow_many_connections() -> None:
    """Every open stream is a file; many systems start processes with 1,024 and let them ask for more."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@click.command(name="scheduler")
def scheduler() -> None:
    """Run the scheduler. Several may run; one leads, the others stand by."""
    from app.log_lines import set_up
    from app.scheduler import run
    from app.settings import current

    set_up(current().log_format)
    run()


@click.command(name="worker")
@click.option("--role", type=click.Choice(["coordinator"]), help="Run jobs' CPU side instead of a GPU group.")
@click.option("--group", metavar="NAME", help="The GPU group that this worker owns.")
@click.option(
    "--devices",
    metavar="DEVICES",
    help="Its devices: GPU indices 0,1,2,3, UUIDs, slices 0:1, all, nvlink, or cpu:2.",
)
def worker(role: str | None, group: str | None, devices: str | None) -> None:
    """Run a coordinator (--role coordinator) or the worker of one GPU group (--group NAME --devices 0,1)."""
    from app.db.session import check_schema
    from app.settings import current
    from app.single_host.parts import parse_groups

    if bool(role) == bool(group or devices):
        raise click.UsageError("give either --role coordinator, or --group NAME with --devices")
    if role:
        check_schema(current())
        _exec_celery("coordinator", current().coordinator_jobs, EVALQ_WORKER_ROLE="coordinator")
    [owned] = parse_groups([f"{group or ''}={devices or ''}"])
    check_schema(current())
    _exec_celery(
        f"group.{owned.name}",
        owned.size,
        EVALQ_WORKER_ROLE="gpu",
        EVALQ_WORKER_GROUP=owned.name,
        EVALQ_WORKER_DEVICES=owned.devices,
    )


@click.command(name="migrate")
@click.option("--force", is_flag=True, help="Even where running processes of the old version break by it.")
def migrate(force: bool) -> None:
    """Bring the database to this version's schema. Safe to repeat and to run twice at once."""
    from app.settings import current
    from app.single_host.schema import migrate as bring_up_to_date

    done = bring_up_to_date(current(), force=force)
    echo("migrated" if done else "the schema is up to date", err=True)


def _exec_celery(queue: str, concurrency: int, **env: str) -> None:
    """Become the Celery worker of one queue; the process id stays, so whoever started us ends it."""
    name = f"{queue}.{token_hex(4)}@%h"
    arguments = [sys.executable, *CELERY, "-Q", queue, "-c", str(concurrency), "-n", name]
    os.execve(sys.executable, arguments, os.environ | env)  # noqa: S606 - an argument list, no shell
