from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

from app.cli.main import cli
from tests.cli.fake_api import FakeApi, serving


class Evalq(Protocol):
    def __call__(self, *arguments: str, stdin: str | None = None) -> Result: ...


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with serving() as fake:
        yield fake


@pytest.fixture
def evalq(api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Evalq:
    """The command, talking to the fake service, of somebody without profiles; its output is no terminal."""
    monkeypatch.setenv("EVALQ_URL", api.url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("EVALQ_TOKEN", "EVALQ_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, list(arguments), input=stdin)

    return run
