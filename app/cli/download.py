"""A job's files, as lm-eval writes them, in one zip."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from app.cli import completing
from app.cli.output import Output, talks
from app.cli.terminal import CliError, stdout_is_terminal
from app.client.calls import Api
from app.client.exit_codes import Exit

SILENCE_SECONDS = 60.0


@click.command(name="download")
@click.argument("job", shell_complete=completing.jobs)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file, a folder, or - for standard output; ID.zip here, unless given.",
)
@click.option("--force", is_flag=True, help="In place of a file that is there.")
@talks
def download(api: Api, out: Output, job: str, target: Path | None, force: bool) -> None:
    """Fetch results_*.json and samples_*.jsonl, as lm-eval writes them and in its folder, as one zip file."""
    job_id = api.job_id(job)
    if target == Path("-"):
        _to_stdout(api, job_id)
        return
    try:
        place = _place(job_id, target, force=force)
        size = _to_file(api, job_id, place)
    except OSError as error:
        raise CliError(f"{target or '.'} cannot be written: {error.strerror}") from None
    if out.as_json:
        out.json({"id": job_id, "path": str(place), "bytes": size})
    else:
        out.data(str(place))


def _place(job_id: str, target: Path | None, *, force: bool) -> Path:
    place = (target or Path()) / f"{job_id}.zip" if target is None or target.is_dir() else target
    if place.is_file() and not force:
        raise CliError(f"{place} is there already: --force replaces it", Exit.USAGE)
    return place


def _to_stdout(api: Api, job_id: str) -> None:
    if stdout_is_terminal():
        raise CliError("a zip file is nothing for a terminal: send it to a file or a pipe", Exit.USAGE)
    for piece in _pieces(api, job_id):
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()


def _to_file(api: Api, job_id: str, place: Path) -> int:
    """Its size. A file is there whole or not at all: until it is, it stands beside its place under another name.

    A device or a pipe is written to, and never replaced by a file.
    """
    if place.exists() and not place.is_file():
        return _written(api, job_id, place, "wb")
    place = place.resolve()  # a link stays one
    part = place.with_name(f".{job_id}.{os.getpid()}.part")
    try:
        size = _written(api, job_id, part, "xb")
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    return size


def _written(api: Api, job_id: str, place: Path, mode: str) -> int:
    size = 0
    with place.open(mode) as file:
        for piece in _pieces(api, job_id):
            size += file.write(piece)
    return size


def _pieces(api: Api, job_id: str) -> Iterator[bytes]:
    with api.stream(f"/v1/jobs/{job_id}/artifacts.zip", silence_seconds=SILENCE_SECONDS) as response:
        yield from response.iter_bytes()
