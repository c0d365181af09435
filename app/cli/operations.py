"""What an operator runs beside the service: doctor and prune. They talk to the servers, not to the API."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.address import DEFAULT_URL, address, addressed
from app.cli.output import Output
from app.cli.terminal import echo
from app.client.exit_codes import Exit
from app.domain.visible import hanging

if TYPE_CHECKING:
    from app.services.doctor import Finding
    from app.services.retention import Ages, Kept
    from app.settings import Settings

COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}
UNITS = {"d": "days", "h": "hours", "m": "minutes"}

data_option: Callable[[Any], Any] = click.option(
    "--data", type=click.Path(path_type=Path), help="The folder of `evalq up`, if that runs (EVALQ_DATA_DIR)."
)


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@addressed
@data_option
def doctor(as_json: bool, url: str | None, profile: str | None, data: Path | None) -> None:
    """Look at servers, workers, devices and this host: what is wrong, and what to do. Exits 1 on a fault.

    What is looked at is named by --data or EVALQ_DATABASE_URL, or it is what runs here. Of a service elsewhere, of
    which there is a URL or a profile alone, it sees what can be seen over HTTP, with the key in EVALQ_TOKEN or the
    profile.
    """
    from app.services.doctor import Finding, State, examine, examine_over_http
    from app.single_host.running import running, sight

    place = address(url, profile)
    named = place.url if place.named else None
    seen = sight(running(), data=data, url=named, otherwise=DEFAULT_URL)
    findings = [Finding("looking at", State.OK, seen.says)]
    if seen.settings is None:
        findings += examine_over_http(seen.url, place.token)
    else:
        findings += examine(seen.settings, seen.url)
    if as_json:
        Output().json([vars(finding) for finding in findings])
    else:
        _print(findings)
    sys.exit(Exit.ERROR if any(finding.state is State.FAULT for finding in findings) else Exit.OK)


def _print(findings: Sequence[Finding]) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        echo(f"{finding.state:7}", colour=COLOURS[finding.state], nl=False)
        echo(hanging(f"  {finding.check:{width}}  {finding.says}", width + 11))
        if finding.advice:
            echo(hanging(f"{'':9}{'':{width}}  -> {finding.advice}", width + 14))


def parse_age(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    """A duration from `30d`, `12h` or `90m`."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([dhm])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no age: 30d, 12h or 90m")
    return timedelta(**{UNITS[match[2]]: float(match[1])})


@dataclass(frozen=True)
class Kinds:
    """What is asked to be removed."""

    jobs: bool
    responses: bool
    logs: bool

    def ages(self, given: timedelta | None, by_settings: Ages) -> Ages:
        """Of the kinds asked for, or of all: the age that was given, or else that of the settings."""
        from app.services.retention import Ages

        every = not (self.jobs or self.responses or self.logs)

        def age(asked: bool, by_setting: timedelta | None) -> timedelta | None:
            if not (asked or every):
                return None
            return by_setting if given is None else given

        return Ages(
            jobs=age(self.jobs, by_settings.jobs),
            responses=age(self.responses, by_settings.responses),
            logs=age(self.logs, by_settings.logs),
            usage=by_settings.usage if every else None,
        )


@click.command(name="prune")
@click.option(
    "--older-than",
    callback=parse_age,
    metavar="AGE",
    help="30d, 12h, 90m; without it: what the settings say.",
)
@click.option("--jobs", is_flag=True, help="Ended jobs with their events, samples and logs; ended replicas.")
@click.option(
    "--responses", is_flag=True, help="Stored answers, unless a job that has not ended may need them."
)
@click.option("--logs", is_flag=True, help="Logs in the database and on this host.")
@click.option("--dry-run", is_flag=True, help="Count, and remove nothing.")
@data_option
def prune(older_than: timedelta | None, dry_run: bool, data: Path | None, **kinds: bool) -> None:
    """Remove what is old: jobs, answers, logs, or all three. The scheduler does so hourly by the settings.

    Device seconds that were used go by EVALQ_KEEP_USAGE_DAYS alone, however old the rest may be.
    Safe while the service runs: what has not ended stays. What is removed cannot be had back.
    """
    from app.services.retention import Ages
    from app.single_host.running import settings_beside

    settings = settings_beside(data)
    ages = Kinds(**kinds).ages(older_than, Ages.of(settings))
    removed = _sweep(settings, ages, dry_run=dry_run)
    for what, count in removed.items():
        echo(f"{count} {what} {'would be removed' if dry_run else 'removed'}")
    if not removed:
        echo(
            "nothing is kept for a limited time: give --older-than, or set EVALQ_KEEP_JOBS_DAYS and the like"
        )


def _sweep(settings: Settings, ages: Ages, *, dry_run: bool) -> Counter[Kept]:
    from app.db.session import check_schema, make_sessions
    from app.services.retention import Kept, RetentionService, kinds_of, old_log_files

    check_schema(settings)
    removed = Counter(dict.fromkeys(kinds_of(ages), 0))
    sessions = make_sessions(settings)
    for what, count in RetentionService(sessions=sessions, settings=settings).sweep(ages, dry_run=dry_run):
        removed[what] += count
    sessions.close()
    if ages.logs is not None:
        removed[Kept.FILES] = old_log_files(settings.data_dir, ages.logs, dry_run=dry_run)
    return removed
