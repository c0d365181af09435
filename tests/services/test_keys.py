"""Keys over a real database, with clocks that the test moves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import event, text

from app.db.session import Sessions
from app.domain.ids import uuid7
from app.domain.keys import Role, new_token, token_hash
from app.errors import InvalidRequestError, UnknownKeyError
from app.services.keys import CACHE_SECONDS, KeyService, keep_bootstrap_key
from app.settings import Settings


@dataclass
class Clock:
    seconds: float = 1000.0

    def now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(sessions: Sessions, clock: Clock) -> KeyService:
    return KeyService(sessions=sessions, now=clock.now, clock=clock.monotonic)


def make(keys: KeyService, lifetime: timedelta | None = None) -> str:
    return keys.create(name="alice", role=Role.SUBMITTER, team="red", lifetime=lifetime)[1]


def test_a_key_leads_to_its_holder(keys: KeyService) -> None:
    found = keys.holder(make(keys))
    assert found is not None
    assert (found.caller.name, found.caller.team, found.caller.role) == ("alice", "red", Role.SUBMITTER)


def test_only_the_hash_of_a_key_is_stored(keys: KeyService, sessions: Sessions) -> None:
    token = make(keys)
    with sessions.begin() as session:
        row = session.execute(text("SELECT * FROM api_keys")).mappings().one()
    assert row["digest"] == token_hash(token)
    assert token[12:] not in str(dict(row))


def test_what_is_no_key_has_no_holder(keys: KeyService) -> None:
    token = make(keys)
    assert keys.holder(token[:-1]) is None
    assert keys.holder(token[:-1] + ("A" if token[-1] != "A" else "B")) is None


def test_a_key_expires_to_the_second(keys: KeyService, clock: Clock) -> None:
    token = make(keys, timedelta(seconds=2))
    assert keys.holder(token)
    clock.seconds += 2
    assert keys.holder(token) is None


def test_a_revoked_key_is_refused_within_the_cache_time(keys: KeyService, clock: Clock) -> None:
    token = make(keys)
    found = keys.holder(token)
    assert found
    keys.revoke(found.id)
    clock.seconds += CACHE_SECONDS
    assert keys.holder(token) is None


def test_revoking_twice_changes_nothing(keys: KeyService, clock: Clock) -> None:
    key, _ = keys.create(name="a", role=Role.VIEWER, team="red")
    first = keys.revoke(key.id)
    clock.seconds += 60
    assert keys.revoke(key.id) == first
    with pytest.raises(UnknownKeyError):
        keys.revoke(uuid7())


def test_a_known_key_costs_no_statement_and_a_write_once_a_minute(
    keys: KeyService, sessions: Sessions, clock: Clock
) -> None:
    token = make(keys)
    keys.holder(token)
    statements: list[str] = []
    event.listen(sessions.kw["bind"], "before_cursor_execute", lambda *args: statements.append(args[2]))
    for _ in range(10):
        keys.holder(token)
    assert statements == []
    used_at = clock.now()
    clock.seconds += CACHE_SECONDS
    keys.holder(token)
    assert keys.all()[0].last_used_at == used_at
    clock.seconds += 61
    keys.holder(token)
    assert keys.all()[0].last_used_at == clock.now()


@pytest.mark.parametrize("keyed", [False, True])
def test_what_is_at_hand_is_told_without_a_statement(
    keys: KeyService, sessions: Sessions, clock: Clock, *, keyed: bool
) -> None:
    token = make(keys) if keyed else ""
    told: list[bool] = []
    statements: list[str] = []
    event.listen(sessions.kw["bind"], "before_cursor_execute", lambda *args: statements.append(args[2]))
    for seconds in (0.0, 0.0, CACHE_SECONDS - 1.5, 1.0, CACHE_SECONDS):
        clock.seconds += seconds
        statements.clear()
        told.append(keys.at_hand(token))
        assert not statements
        keys.needed()
        keys.holder(token)
        assert not (told[-1] and statements)
    assert told == [False, True, True, False, False]


def test_a_stranger_s_key_is_never_at_hand(keys: KeyService) -> None:
    for token in (new_token(), "", "no key"):
        keys.holder(make(keys))
        assert keys.needed()
        assert not keys.at_hand(token)


def test_a_service_is_open_until_the_first_key_and_never_again(keys: KeyService, clock: Clock) -> None:
    assert not keys.needed()
    key, _ = keys.create(name="a", role=Role.VIEWER, team="red")
    clock.seconds += CACHE_SECONDS
    assert keys.needed()
    keys.revoke(key.id)
    clock.seconds += CACHE_SECONDS
    assert keys.needed()


def test_a_key_of_the_settings_is_kept_once_and_stays_revoked(keys: KeyService, settings: Settings) -> None:
    token = new_token()
    with_key = settings.model_copy(update={"bootstrap_key": SecretStr(token)})
    assert token not in repr(with_key)
    keep_bootstrap_key(settings)
    assert not keys.needed()
    for _ in range(2):
        keep_bootstrap_key(with_key)
    [key] = keys.all()
    assert (key.name, key.role) == ("bootstrap", Role.OPERATOR)
    assert keys.holder(token) is not None
    keys.revoke(key.id)
    keep_bootstrap_key(with_key)
    assert [each.revoked_at is None for each in keys.all()] == [False]


def test_a_key_of_the_settings_must_be_one(settings: Settings) -> None:
    with pytest.raises(InvalidRequestError, match="EVALQ_BOOTSTRAP_KEY"):
        keep_bootstrap_key(settings.model_copy(update={"bootstrap_key": SecretStr("secret")}))


@pytest.mark.parametrize(("name", "team"), [("a b", "b"), ("a", ""), ("x" * 65, "b")])
def test_a_name_that_is_none_is_refused(keys: KeyService, name: str, team: str) -> None:
    with pytest.raises(InvalidRequestError):
        keys.create(name=name, team=team, role=Role.VIEWER)
