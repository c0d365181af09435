"""A list of jobs: its tabs, its filters as chips, and where its pages are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from urllib.parse import urlencode

from app.dashboard.words import number
from app.domain.ids import beginning_of
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter
from app.services.overview import MOST_COUNTED, Counts

PATH = "/jobs"
TABS = {
    None: ("All", ""),
    JobStatus.QUEUED: ("Waiting", "queued"),
    JobStatus.RUNNING: ("Running", "running"),
    JobStatus.PAUSED: ("Paused", "paused"),
    JobStatus.SUCCEEDED: ("Succeeded", "succeeded"),
    JobStatus.PARTIALLY_FAILED: ("Partly failed", "partially_failed"),
    JobStatus.FAILED: ("Failed", "failed"),
    JobStatus.CANCELLED: ("Cancelled", "cancelled"),
}
CHIPS = {
    "name": "name",
    "model": "model",
    "task": "task",
    "owner": "owner",
    "tag": "tag",
    "created_after": "submitted after",
    "id": "id",
}


@dataclass(frozen=True)
class Tab:
    """Jobs of a status, and how many the other filters let through."""

    word: str
    icon: str
    count: str
    href: str
    chosen: bool


@dataclass(frozen=True)
class Chip:
    """A filter that is on, and the list without it."""

    word: str
    value: str
    without: str


@dataclass(frozen=True)
class Listing:
    """What stands around the rows."""

    tabs: Sequence[Tab]
    chips: Sequence[Chip]
    total: str
    here: str
    sheet: str
    newest: str | None
    older: str | None

    @property
    def nothing(self) -> str:
        """Why there is no row, in words."""
        status = next((tab.word.lower() for tab in self.tabs if tab.chosen and tab.icon), "")
        told = [f"{chip.word} {chip.value}" for chip in self.chips]
        told += [f"state {status}" if status else ""]
        return f"Nothing has {', '.join(filter(None, told))}."


def listing(wanted: JobFilter, counts: Counts, cursor: str | None, next_cursor: str | None) -> Listing:
    """For a page of the jobs that the filter lets through."""
    sent = _sent(wanted)
    status = JobStatus(wanted.status) if wanted.status else None
    return Listing(
        tabs=[_tab(each, status, counts, sent) for each in TABS],
        chips=[
            Chip(CHIPS[name], value, _href({**sent, name: None}))
            for name, value in sent.items()
            if name in CHIPS and value
        ],
        total=_count(status, counts),
        here=_href({**sent, "cursor": cursor}),
        sheet=_href(sent, "/jobs.csv"),
        newest=_href(sent) if cursor else None,
        older=_href({**sent, "cursor": next_cursor}) if next_cursor else None,
    )


def _sent(wanted: JobFilter) -> dict[str, str | None]:
    after = wanted.created_after
    told = {name: getattr(wanted, name) for name in ("status", *CHIPS) if name not in {"created_after", "id"}}
    return {
        **told,
        "created_after": _moment(after.astimezone(UTC)) if after else None,
        "id": beginning_of(*wanted.ids) if wanted.ids else None,
    }


def _moment(moment: datetime) -> str:
    """As short as it can be said."""
    return moment.isoformat() if moment.time() != time() else moment.date().isoformat()


def _tab(
    each: JobStatus | None, chosen: JobStatus | None, counts: Counts, sent: dict[str, str | None]
) -> Tab:
    word, icon = TABS[each]
    return Tab(word, icon, _count(each, counts), _href({**sent, "status": each}), each is chosen)


def _count(status: JobStatus | None, counts: Counts) -> str:
    """Of those that were looked at, and a plus where there are more."""
    found = counts.total if status is None else counts.by_status.get(status, 0)
    return f"{number(min(found, MOST_COUNTED))}+" if counts.bounded else number(found)


def _href(sent: dict[str, str | None], path: str = PATH) -> str:
    given = urlencode([(name, value) for name, value in sent.items() if value])
    return f"{path}?{given}" if given else path
