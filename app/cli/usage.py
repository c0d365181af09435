"""What devices were used for: a table, JSON, or CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import click

from app.cli.output import Output, columns, talks
from app.client.calls import Api, Json
from app.domain.visible import in_a_cell

SIDES = ("day", "hour", "team", "owner", "model", "outcome")


@click.command(name="usage")
@click.option("--from", "since", metavar="TIME", help="2026-11-01 or 2026-11-01T08:00Z; 30 days before --to.")
@click.option("--to", "until", metavar="TIME", help="Now, unless given.")
@click.option(
    "--by",
    default="team,owner,outcome",
    show_default=True,
    help=f"Some of {', '.join(SIDES)}, separated by commas.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, in device seconds.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=1000, help="How many sums, at most.")
@talks
def usage(
    api: Api, out: Output, *, since: str | None, until: str | None, by: str, as_csv: bool, limit: int
) -> None:
    """Show device time by who used it and what came of it: of your team, or of all for an operator."""
    params = {"from": since, "to": until, "by": by, "limit": limit}
    found = api.get("/v1/usage", **params)
    shown = [side for side in SIDES if side in found["by"]]
    if out.as_json:
        out.json(found)
    elif as_csv:
        out.data(_comma_separated(shown, found["data"]))
    elif found["data"]:
        rows = [[*_names(shown, each), _hours(each["device_seconds"])] for each in found["data"]]
        for line in columns([side.upper() for side in shown] + ["DEVICE HOURS"], rows):
            out.data(line)
        out.say(f"{_hours(found['device_seconds'])} device hours in all")
    else:
        out.say("nothing was used in that time")
    if found["left_out"]:
        out.say(f"{found['left_out']} more sums are left out: see them with -n, or ask by less")


def _names(shown: Sequence[str], each: Json) -> list[str]:
    return [str(each[side]) or "(nobody)" for side in shown]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def _comma_separated(shown: Sequence[str], sums: Sequence[Json]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*shown, "device_seconds"])
    writer.writerows([[*(in_a_cell(each[side]) for side in shown), each["device_seconds"]] for each in sums])
    return text.getvalue().rstrip("\n")
