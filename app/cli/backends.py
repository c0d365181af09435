"""Engine backends of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.calibrating import calibrate_backend
from app.cli.output import Output, columns, prints
from app.cli.terminal import echo

if TYPE_CHECKING:
    from app.backends import Source
    from app.backends.environments import BackendEnvironment
    from app.domain.group import BackendReport

INDEX = click.option(
    "--index",
    "indexes",
    multiple=True,
    metavar="URL",
    help="A package index in place of pip's own; may be repeated. PIP_INDEX_URL and pip's configuration hold, too.",
)


@click.group(name="backends")
def backends() -> None:
    """Engine backends of this machine: each lives in a pinned environment of its own."""


backends.add_command(calibrate_backend)


@backends.command(name="list")
@click.option(
    "--quick", is_flag=True, help="Do not look whether they work, which takes seconds the first time."
)
@prints
def list_backends(*, out: Output, quick: bool) -> None:
    """Show the backends: whether they are installed and work, versions, size, what was measured of fast scoring."""
    from app.backends import BACKENDS, environments
    from app.backends.tolerances import kept
    from app.settings import current

    rows = [
        _row(environment, quick=quick or out.ids_only) for environment in environments(current().cache_dir)
    ]
    header = ("NAME", "STATE", "VERSIONS", "SIZE", "ENVIRONMENT", "HEALTH")
    planned = [name for name, backend in BACKENDS.items() if backend.planned_only]
    told = {name: [each.told for each in kept(name, current().cache_dir)] for name in BACKENDS}
    if out.as_json:
        named = [dict(zip(map(str.lower, header), row, strict=True)) for row in rows]
        out.json([row | {"tolerances": told[row["name"]]} for row in named])
        return
    for line in dict.fromkeys(row[0] for row in rows) if out.ids_only else columns(header, rows):
        out.row(line)
    for line in (f"fast scoring, {each}" for lines in told.values() for each in lines):
        out.say(line)
    out.say(
        f"planned, not run: {', '.join(planned)} (evalq has no engine for them; `evalq plan` shows what such a job"
        " would take)"
    )


@backends.command(name="install")
@click.argument("name")
@INDEX
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of wheels (`evalq backends download`): no network is used.",
)
def install_backend(name: str, indexes: tuple[str, ...], folder: Path | None) -> None:
    """Make the pinned environment of backend NAME, unless it is there, and look whether it works."""
    from app.backends import install, look_at
    from app.errors import BackendInstallError
    from app.settings import current

    source = _source(name, indexes, folder)
    cache = current().cache_dir
    echo(str(install(name, cache, _progress, source=source)))
    report = look_at(name, cache, "cpu")  # a host that builds images has no GPU
    if report.problem:
        raise BackendInstallError(f"{name} is installed but does not work here: {report.problem}")
    _progress(f"{name} works here: {_versions(report)}")


@backends.command(name="download")
@click.argument("name")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@INDEX
def download_backend(name: str, folder: Path, indexes: tuple[str, ...]) -> None:
    """Put the wheels of backend NAME into FOLDER, to install it on a machine without network that is like this one."""
    from app.backends import download

    download(name, folder, _progress, source=_source(name, indexes, None))
    echo(str(folder))


@backends.command(name="remove")
@click.argument("name")
@click.option(
    "--old", is_flag=True, help="Remove only environments of other pins, left behind by other versions."
)
def remove_backend(name: str, *, old: bool) -> None:
    """Delete the environments of backend NAME, unless something on this host runs from them."""
    from app.backends import remove
    from app.settings import current

    _known(name)
    for path in remove(name, current().cache_dir, _progress, only_of_other_pins=old):
        echo(str(path))


def _row(environment: BackendEnvironment, *, quick: bool) -> list[str]:
    from app.backends import EnvironmentState, look_at
    from app.backends.health import size_of
    from app.settings import current

    there = environment.state is EnvironmentState.INSTALLED
    if there and not quick:
        report = look_at(environment.backend, current().cache_dir)
        versions, size, health = _versions(report), report.size_bytes, report.problem or "works"
    else:
        size = None if environment.state is EnvironmentState.ABSENT else size_of(environment.path)
        versions, health = "", "not looked at" if there else ""
    shown = "" if size is None else f"{size / 1e9:.1f} GB"
    return [environment.backend, environment.state, versions, shown, str(environment.path), health]


def _versions(report: BackendReport) -> str:
    return ", ".join(f"{name} {version}" for name, version in report.versions.items())


def _progress(line: str) -> None:
    echo(line, err=True)


def _known(name: str) -> None:
    from app.backends import BACKENDS

    names = ", ".join(each for each, backend in BACKENDS.items() if not backend.planned_only)
    if name not in BACKENDS:
        raise click.UsageError(f"there is no backend {name!r}; there are {names}")
    if BACKENDS[name].planned_only:
        raise click.UsageError(
            f"evalq plans jobs for {name} and has no engine for it to install; there are {names}"
        )


def _source(name: str, indexes: tuple[str, ...], folder: Path | None) -> Source:
    from app.backends import Source

    _known(name)
    if indexes and folder:
        raise click.UsageError("either --index or --from: with a folder no index is asked")
    return Source(indexes, folder.resolve() if folder else None)
