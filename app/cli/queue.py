"""What waits, for what, and behind whom."""

from __future__ import annotations

import click

from app.cli.describe import span
from app.cli.job_table import age
from app.cli.output import Output, columns, short, talks
from app.client.calls import Api, Json
from app.domain.visible import one_line

HEADER = ("#", "ID", "MODEL", "PRIORITY", "AGE", "STARTS IN", "AHEAD", "WAITING FOR")


@click.command(name="queue")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many, at most."
)
@talks
def queue(api: Api, out: Output, limit: int) -> None:
    """Show what waits, in the order it is served, for what, and who is ahead."""
    page = api.get("/v1/queue", limit=limit)
    found, total = page["data"], page.get("total", 0)
    for trouble in page.get("troubles") or ():
        out.say(trouble)
    if out.as_json:
        out.json(found)
        return
    lines = [job["id"] for job in found if job["id"]]
    if found and not out.ids_only:
        lines = columns(HEADER, [_row(job) for job in found])
    for line in lines:
        out.row(one_line(line))
    if total > len(found):
        out.say(f"{total} jobs wait; see more with -n")
    elif not found:
        out.say("nothing waits")


def _row(job: Json) -> list[str]:
    place = [str(job["position"]), short(job["id"]) if job["id"] else "(other team)"]
    place += [job["model"] or "", str(job["priority"]), age(job["created_at"])]
    starts = span(job.get("estimate"), "start")
    return [*place, starts, _ahead(job.get("ahead")), job["waiting_for"]]


def _ahead(ahead: Json | None) -> str:
    """`3: 1 by priority, 2 by share`, or nothing where nobody is."""
    if not ahead or not ahead["count"]:
        return ""
    by = ", ".join(f"{number} {why}" for why, number in ahead["by"].items())
    return f"{ahead['count']}: {by}"
