"""Two schedulers: one leads, and the other takes over from one that died or froze."""

from __future__ import annotations

from contextlib import suppress

import pytest

from app.db.leader import Leadership
from app.errors import DatabaseUnreachableError
from app.settings import Settings
from tests.waiting import until

PATIENT_SECONDS = 60.0


def leads(schedulers: Leadership) -> bool:
    """Whether this one gets the lead, for a moment."""
    with schedulers.sought(PATIENT_SECONDS) as lead:
        return lead is not None


def test_one_of_two_schedulers_leads(settings: Settings) -> None:
    first, second = Leadership(settings), Leadership(settings)
    with first.sought(PATIENT_SECONDS) as lead:
        assert lead is not None
        assert not leads(second)
        lead.check()


def test_the_other_leads_when_the_first_has_stopped_or_died(settings: Settings) -> None:
    first, second = Leadership(settings), Leadership(settings)
    with suppress(KeyError), first.sought(PATIENT_SECONDS):
        raise KeyError
    until(lambda: leads(second))
    until(lambda: leads(first))


def test_the_other_leads_when_the_first_freezes(settings: Settings) -> None:
    first, second = Leadership(settings), Leadership(settings)
    with first.sought(0.1) as lead:
        assert lead is not None
        until(lambda: leads(second))
        with pytest.raises(DatabaseUnreachableError):
            lead.check()


def test_a_scheduler_without_a_database_hears_an_error_of_ours(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"database_url": "postgresql://127.0.0.1:1/none"})
    with pytest.raises(DatabaseUnreachableError), Leadership(nowhere).sought(PATIENT_SECONDS):
        pass
