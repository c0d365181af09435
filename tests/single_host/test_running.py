"""Which evalq a command beside it looks at."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from app.settings import Settings
from app.single_host import running
from app.single_host.parts import evalq_command
from app.single_host.running import Running, settings_beside, sight

USUAL = "http://127.0.0.1:8000"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The usual data directory of an account for which nothing is named."""
    for name in ("EVALQ_DATABASE_URL", "EVALQ_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EVALQ_DATA_DIR", str(tmp_path / "home"))
    return tmp_path / "home"


def up(port: int, data: Path, host: str = "127.0.0.1") -> Running:
    return Running(host, port, Settings(database_url=f"postgresql:///of-{port}", data_dir=data))


def test_what_runs_is_found_and_the_usual_folder_first(home: Path, tmp_path: Path) -> None:
    elsewhere, usual = up(9000, tmp_path / "elsewhere"), up(9001, home)
    found = sight([elsewhere], data=None, url=None, otherwise=USUAL)
    assert (found.settings, found.url) == (elsewhere.settings, "http://127.0.0.1:9000")
    assert str(tmp_path / "elsewhere") in found.says
    both = sight([elsewhere, usual], data=None, url=None, otherwise=USUAL)
    assert both.settings == usual.settings
    assert "see http://127.0.0.1:9000 with --url" in both.says


@pytest.mark.parametrize("url", ["http://localhost:9001/", "http://127.0.0.1:9001", "http://[::1]:9001"])
def test_an_address_says_which_of_them(home: Path, url: str) -> None:
    first, second = up(9000, home), up(9001, home / "other", host="0.0.0.0")  # noqa: S104
    found = sight([first, second], data=None, url=url, otherwise=USUAL)
    assert (found.settings, found.url) == (second.settings, url)


@pytest.mark.parametrize(
    "url", ["https://evalq.example", "http://127.0.0.1:9001", "http://evalq.example:9000", "http://x:no"]
)
def test_of_an_address_elsewhere_only_that_is_known(home: Path, url: str) -> None:
    found = sight([up(9000, home)], data=None, url=url, otherwise=USUAL)
    assert (found.settings, found.url) == (None, url)


def test_what_is_named_is_looked_at(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = up(9000, tmp_path / "data")
    by_folder = sight([one], data=tmp_path / "data", url=None, otherwise=USUAL)
    assert by_folder.settings
    assert (by_folder.settings.data_dir, by_folder.url) == (tmp_path / "data", one.url)
    monkeypatch.setenv("EVALQ_DATABASE_URL", "postgresql:///named")
    by_url = sight([one], data=None, url=None, otherwise=USUAL)
    assert by_url.settings
    assert (by_url.settings.database_url, by_url.url) == ("postgresql:///named", USUAL)


def test_where_nothing_runs_it_says_so(home: Path, tmp_path: Path) -> None:
    usual = sight([], data=None, url=None, otherwise=USUAL)
    assert usual.settings
    assert usual.settings.database_url == "postgresql:///evalq"
    assert "no evalq of this account runs here" in usual.says
    named = sight([], data=tmp_path / "data", url=None, otherwise=USUAL)
    assert named.says == f"`evalq up` in {tmp_path / 'data'}, which does not run"


def test_a_folder_in_which_nothing_runs_leads_to_no_other_database(home: Path, tmp_path: Path) -> None:
    host = quote(str(tmp_path / "data" / "run"), safe="")
    assert settings_beside(tmp_path / "data").database_url == f"postgresql://postgres@/evalq?host={host}"


def test_a_process_tells_where_it_serves(tmp_path: Path) -> None:
    env = {
        "EVALQ_PORT": "9000",
        "EVALQ_DATA_DIR": "data",
        "EVALQ_REDIS_URL": "redis://here",
        "EVALQ_HOST": "::",
    }
    told = running._told(["python", "-m", "app.cli", "api", "--port", "9001"], env, tmp_path)
    assert (told.url, told.settings.data_dir) == ("http://127.0.0.1:9001", tmp_path / "data")
    assert told.settings.redis_url == "redis://here"
    assert running._is_api(["/venv/bin/python", "/venv/bin/evalq", "api"])
    assert running._is_api([*evalq_command("api"), "--port", "9001"])
    assert running._is_api(["python", "-m", "app.cli", "api"])
    assert not running._is_api(["/venv/bin/python", "/venv/bin/evalq", "up"])
    assert not running._is_api(["vi", "api"])
