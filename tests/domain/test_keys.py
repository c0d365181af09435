from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.ids import uuid7
from app.domain.keys import (
    ANONYMOUS,
    Caller,
    Key,
    Role,
    is_name,
    is_token,
    new_token,
    shown_prefix,
    token_hash,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def key(**fields: object) -> Key:
    return Key(uuid7(), "alice", Role.SUBMITTER, "red", "evq_abcdefgh", NOW, **fields)  # type: ignore[arg-type]


def test_a_key_is_long_random_and_known_by_its_beginning() -> None:
    token = new_token()
    assert is_token(token)
    assert len(token) == 4 + 43
    assert token != new_token()
    assert token.startswith(shown_prefix(token))
    assert len(shown_prefix(token)) == 12


@pytest.mark.parametrize(
    "text", ["", "evq_", "evq_" + "a" * 42, "evq_" + "a" * 44, "Evq_" + "a" * 43, "evq_" + "é" * 43]
)
def test_other_texts_are_no_keys(text: str) -> None:
    assert not is_token(text)


def test_the_hash_is_that_of_the_whole_key() -> None:
    token = new_token()
    assert token_hash(token) == token_hash(token)
    assert token_hash(token) != token_hash(token[:-1] + "~")
    assert len(token_hash(token)) == 32


def test_each_role_may_do_what_those_before_it_may() -> None:
    permitted = {role: [needed for needed in Role if role.permits(needed)] for role in Role}
    assert permitted == {
        Role.VIEWER: [Role.VIEWER],
        Role.SUBMITTER: [Role.VIEWER, Role.SUBMITTER],
        Role.OPERATOR: list(Role),
    }


def test_only_operators_see_every_team() -> None:
    assert Caller("alice", "red", Role.SUBMITTER).sees == "red"
    assert Caller("olga", "red", Role.OPERATOR).sees is None
    assert ANONYMOUS.sees is None


def test_a_key_is_usable_until_it_expires_or_is_revoked() -> None:
    assert key().usable(NOW)
    assert key(expires_at=NOW + timedelta(seconds=1)).usable(NOW)
    assert not key(expires_at=NOW).usable(NOW)
    assert not key(revoked_at=NOW - timedelta(days=1)).usable(NOW)


@pytest.mark.parametrize("text", ["alice", "nightly-ci", "a.b_c@example.org", "7"])
def test_a_name(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", ["", " a", "a b", "-a", "a/b", "a\n", "a" * 65])
def test_no_name(text: str) -> None:
    assert not is_name(text)
