"""`evalq keys` on a real database, and what a refused caller reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from app.cli.main import cli
from app.client.calls import problem
from app.client.exit_codes import Exit
from app.domain.ids import uuid7
from app.domain.keys import is_token
from app.settings import Settings
from tests.cli.fake_api import problem as problem_body

Evalq = Callable[..., Result]


@pytest.fixture
def evalq(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Evalq:
    """The command, on the test's database."""
    monkeypatch.setenv("EVALQ_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


def test_a_key_is_printed_once_alone_on_stdout(evalq: Evalq) -> None:
    made = evalq("keys", "create", "--name", "alice", "--team", "red", "--expires", "90d")
    token = made.stdout.strip()
    assert is_token(token)
    assert "alice is a submitter of team red, until" in made.stderr
    assert token not in made.stderr
    listed = evalq("keys", "list")
    assert token[:12] in listed.stdout
    assert token not in listed.stdout
    assert "until" in listed.stdout


def test_keys_are_there_for_scripts_too(evalq: Evalq) -> None:
    made = json.loads(evalq("keys", "create", "--name", "ci", "--json").stdout)
    assert is_token(made["token"])
    assert evalq("keys", "create", "--name", "quiet", "-q").stderr == ""
    first, second = listed = json.loads(evalq("keys", "list", "--json").stdout)
    assert first == {name: value for name, value in made.items() if name != "token"}
    assert (second["name"], second["expires_at"], second["revoked_at"]) == ("quiet", None, None)
    assert evalq("keys", "list", "-q").stdout.split() == [key["id"] for key in listed]
    assert json.loads(evalq("keys", "revoke", first["id"], "--json").stdout)["revoked_at"] is not None


def test_a_key_is_revoked_by_its_id(evalq: Evalq) -> None:
    assert "there are no keys" in evalq("keys", "list").stderr
    evalq("keys", "create", "--name", "alice", "--role", "viewer")
    key_id = evalq("keys", "list").stdout.splitlines()[1].split()[0]
    for _ in range(2):
        assert "refused everywhere within 5 s" in evalq("keys", "revoke", key_id).stderr
    assert "revoked" in evalq("keys", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["create", "--name", "a", "--expires", "soon"], 2, "30d"),
        (["create", "--name", "a", "--role", "king"], 2, "operator"),
        (["create"], 2, "--name"),
        (["revoke", "nonsense"], 2, "UUID"),
        (["revoke", str(uuid7())], 102, "evalq keys list"),
    ],
)
def test_what_cannot_be_done_is_said(evalq: Evalq, arguments: list[str], exit_code: int, says: str) -> None:
    answer = evalq("keys", *arguments)
    assert answer.exit_code == exit_code
    assert says in answer.stderr


def test_a_name_that_is_none_is_refused(evalq: Evalq) -> None:
    answer = evalq("keys", "create", "--name", "a b")
    assert answer.exit_code != 0
    assert "letters, digits" in str(answer.exception)


def test_beyond_loopback_the_api_asks_for_a_key_before_it_starts(
    evalq: Evalq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALQ_HOST", "0.0.0.0")  # noqa: S104 - the point
    monkeypatch.setenv("EVALQ_PORT", "0")
    from app.settings import current

    current.cache_clear()
    answer = evalq("api")
    current.cache_clear()
    assert "evalq keys create" in str(answer.exception)


@pytest.mark.parametrize(
    ("status", "exit_code"), [(401, Exit.NOT_ALLOWED), (403, Exit.NOT_ALLOWED), (429, Exit.ERROR)]
)
def test_a_refusal_is_one_line_and_an_exit_code(status: int, exit_code: Exit) -> None:
    error = problem(httpx.Response(status, json=problem_body(status, "No", "the way out")))
    assert (str(error), error.exit_code) == ("the way out", exit_code)
