"""Engine backends of this machine."""

from __future__ import annotations

import click

from app.cli.output import columns
from app.cli.terminal import echo


@click.group(name="backends")
def backends() -> None:
    """Engine backends of this machine: each lives in a pinned environment of its own."""


@backends.command(name="list")
def list_backends() -> None:
    """Show the backends and where their environments are."""
    from app.backends import BACKENDS, environment_path, is_installed
    from app.settings import current

    cache = current().cache_dir
    rows = [
        [
            name,
            "installed" if is_installed(name, cache) else "not installed",
            str(environment_path(name, cache)),
        ]
        for name, backend in BACKENDS.items()
        if backend.lock_file
    ]
    for line in columns(("NAME", "STATE", "ENVIRONMENT"), rows):
        echo(line)


@backends.command(name="install")
@click.argument("name")
def install_backend(name: str) -> None:
    """Make the pinned environment of backend NAME, unless it is there."""
    from app.backends import BACKENDS, install
    from app.settings import current

    if name not in BACKENDS:
        raise click.UsageError(f"there is no backend {name!r}; there are {', '.join(BACKENDS)}")
    echo(str(install(name, current().cache_dir, progress=lambda line: echo(line, err=True))))
