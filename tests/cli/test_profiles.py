"""Services by name: whose key goes where, and that nobody else reads it."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.cli.address import Address, address
from app.client.exit_codes import CallError
from app.client.profiles import Profile, Profiles, changing, made, read_profiles
from tests.cli.conftest import Evalq
from tests.cli.fake_api import ME, FakeApi, problem

KEY = "evq_" + "k" * 43
LAB, HOME = "https://lab.internal", "http://10.0.0.2:8000"


@pytest.fixture
def config(evalq: Evalq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of somebody who has no variable set."""
    for name in ("EVALQ_URL", "EVALQ_TOKEN", "EVALQ_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "evalq" / "config.toml"


@pytest.fixture
def two(config: Path) -> Path:
    """`lab` with a key, which is meant, and `home` without."""
    with changing(config) as kept:
        kept[0] = Profiles({"home": Profile(HOME), "lab": Profile(LAB, KEY)}, "lab")
    return config


def test_a_profile_is_kept_for_its_owner_alone_and_then_meant(
    evalq: Evalq, api: FakeApi, config: Path
) -> None:
    answer = evalq("login", "--profile", "lab", "--url", api.url, stdin=f"{KEY}\nmore\n")
    assert answer.stdout == f"alice, operator of team nlp, at {api.url} (profile lab)\n"
    assert KEY not in answer.output
    assert tomllib.loads(config.read_text()) == {
        "profile": "lab",
        "profiles": {"lab": {"url": api.url, "token": KEY}},
    }
    assert (stat.S_IMODE(config.stat().st_mode), stat.S_IMODE(config.parent.stat().st_mode)) == (0o600, 0o700)
    assert json.loads(evalq("whoami", "--json").stdout) == ME | {"url": api.url, "profile": "lab"}
    assert api.seen[-1].headers["Authorization"] == f"Bearer {KEY}"


def test_who_asks_is_told(evalq: Evalq, api: FakeApi) -> None:
    assert evalq("whoami").stdout == f"alice, operator of team nlp, at {api.url}\n"
    assert evalq("whoami", "-q").stdout == "alice\n"
    assert json.loads(evalq("whoami", "--json").stdout) == ME | {"url": api.url, "profile": None}


def test_a_key_that_the_service_refuses_is_not_kept(evalq: Evalq, api: FakeApi, config: Path) -> None:
    api.answers["GET /v1/me"] = (401, problem(401, "Unauthorized", "this key is not known"))
    answer = evalq("login", "--url", api.url, stdin=f"{KEY}\n")
    assert (answer.exit_code, config.exists()) == (4, False)
    assert KEY not in answer.output


def test_a_login_again_goes_to_the_same_service(
    evalq: Evalq, api: FakeApi, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with changing(two) as kept:
        kept[0] = kept[0].with_profile("lab", Profile(api.url, "old"))
    monkeypatch.setenv("EVALQ_URL", "http://127.0.0.1:1")
    answer = evalq("login", "--profile", "lab", stdin=f"{KEY}\n")
    assert read_profiles(two).named("lab") == Profile(api.url, KEY)
    assert "EVALQ_URL is set" in answer.stderr


def test_a_profile_is_forgotten(evalq: Evalq, two: Path) -> None:
    assert evalq("logout", "--profile", "lab").stdout == "lab\n"
    assert read_profiles(two) == Profiles({"home": Profile(HOME)})
    answer = evalq("logout", "--profile", "lab")
    assert (answer.exit_code, "there are home" in answer.stderr) == (2, True)


@pytest.mark.parametrize(
    ("variables", "options", "asked"),
    [
        ({}, {}, (LAB, KEY, "lab")),
        ({"EVALQ_PROFILE": "home"}, {}, (HOME, None, "home")),
        ({"EVALQ_PROFILE": "home"}, {"profile": "lab"}, (LAB, KEY, "lab")),
        ({"EVALQ_URL": "http://a"}, {}, ("http://a", None, None)),
        ({"EVALQ_URL": "http://a", "EVALQ_TOKEN": "t"}, {}, ("http://a", "t", None)),
        ({"EVALQ_URL": "http://a", "EVALQ_TOKEN": "t"}, {"profile": "lab"}, (LAB, KEY, "lab")),
        ({"EVALQ_URL": "http://a", "EVALQ_TOKEN": "t"}, {"profile": "home"}, (HOME, "t", "home")),
        ({"EVALQ_TOKEN": "t"}, {}, (LAB, "t", "lab")),
        ({}, {"url": LAB}, (LAB, None, None)),
        ({"EVALQ_URL": "", "EVALQ_PROFILE": "", "EVALQ_TOKEN": ""}, {}, (LAB, KEY, "lab")),
    ],
)
def test_a_key_goes_to_its_own_service(
    two: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    options: dict[str, str],
    asked: tuple[str, str | None, str | None],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert address(**options) == Address(*asked, named=True)


@pytest.mark.parametrize(
    "url", ["::::", "http://x:y", "http://[", "http://x y", "file:///x", "http://me:hunter2@x:y"]
)
@pytest.mark.parametrize("verb", ["jobs", "doctor", "whoami"])
def test_what_is_no_address_is_wrong_usage(
    evalq: Evalq, monkeypatch: pytest.MonkeyPatch, verb: str, url: str
) -> None:
    monkeypatch.setenv("EVALQ_URL", url)
    answer = evalq(verb)
    assert (answer.exit_code, "is no address" in answer.stderr, "hunter2" in answer.output) == (
        2,
        True,
        False,
    )


@pytest.mark.parametrize("token", ["sec ret", "sec\nX-Role: operator", "ключ", "x" * 9999])
def test_what_no_header_can_carry_is_not_sent(
    evalq: Evalq, api: FakeApi, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("EVALQ_TOKEN", token)
    answer = evalq("jobs")
    assert (answer.exit_code, api.seen, token in answer.output) == (2, [], False)


def test_without_any_name_the_usual_address_is_asked(config: Path) -> None:
    assert address() == Address("http://127.0.0.1:8000")


def test_two_names_for_one_service_are_wrong_usage(evalq: Evalq, two: Path) -> None:
    assert evalq("jobs", "--url", LAB, "--profile", "lab").exit_code == 2
    assert evalq("jobs", "--profile", "lba").stderr.startswith(
        "evalq: there is no profile 'lba'; there are home, lab"
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_is_not_used(evalq: Evalq, two: Path, mode: int) -> None:
    two.chmod(mode)
    answer = evalq("jobs")
    assert (answer.exit_code, answer.stderr) == (
        4,
        f"evalq: others may read the keys in {two}: chmod 600 {two}\n",
    )
    two.write_text(f'[profiles.home]\nurl = "{HOME}"\n')
    assert address(profile="home").url == HOME, "there is nothing to hide in it"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profile = 'lab'", "profile is 'lab', which is none of its profiles"),
        ("profile = []", "profile is [], which is none"),
        ("profiles = 1", "profiles must be a table"),
        ("[profiles]\nlab = 'x'", "profiles.lab must be a table"),
        (
            "[profiles.lab]\nurl = 'https://a'\ntokn = 'secret'",
            "no setting profiles.lab.tokn; there are url, token",
        ),
        ("[profiles.lab]\nurl = 'https://a'\ntoken = 'a secret'", "the token of profile lab must be"),
        ("[profiles.lab]\ntoken = 'secret'", "the url of profile lab must be"),
        ("[profiles.'../lab']\nurl = 'https://a'", "is no name"),
        ("[profiles.lab", "Expected"),
        ("\x00", "Invalid"),
    ],
)
def test_a_file_that_cannot_be_meant_is_named(evalq: Evalq, config: Path, text: str, said: str) -> None:
    config.parent.mkdir()
    config.write_text(text)
    answer = evalq("jobs")
    assert (answer.exit_code, str(config) in answer.stderr, said in answer.stderr) == (2, True, True)
    assert "secret" not in answer.output


@pytest.mark.parametrize(
    "url", ["", "lab", "ftp://lab", "https://", "https://a b", "https://a\n", "http://[::1", "http://a:99999"]
)
def test_what_is_no_address_is_refused_before_a_key_is_asked_for(
    evalq: Evalq, config: Path, url: str
) -> None:
    with pytest.raises(ValueError, match="profile lab"):
        made("lab", url, KEY)


def test_logins_at_once_lose_none(config: Path) -> None:
    def log_in(number: int) -> None:
        with changing(config) as kept:
            kept[0] = kept[0].with_profile(f"p{number}", Profile(f"http://10.0.0.{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(log_in, range(40)))
    assert len(read_profiles(config).by_name) == 40
    assert [path.name for path in config.parent.iterdir()] == ["config.toml"]


def test_a_login_that_dies_leaves_what_was_there(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = two.read_text()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"), changing(two) as kept:
        kept[0] = Profiles()
    assert (two.read_text(), [path.name for path in two.parent.iterdir()]) == (before, ["config.toml"])


def test_a_link_to_the_file_stays_one(two: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    two.rename(real)
    two.symlink_to(real)
    with changing(two) as kept:
        kept[0] = kept[0].without("home")
    assert two.is_symlink()
    assert list(read_profiles(real).by_name) == ["lab"]


def test_what_is_no_file_is_never_replaced_by_one(evalq: Evalq, api: FakeApi, config: Path) -> None:
    config.parent.mkdir()
    pipe = config.with_name("pipe")
    os.mkfifo(pipe)
    config.symlink_to(pipe)
    with pytest.raises(CallError, match="is no file"), changing(config):
        pass
    assert pipe.is_fifo()


def test_a_folder_that_cannot_be_is_no_folder_of_profiles(config: Path) -> None:
    config.parent.touch()
    assert read_profiles(config) == Profiles()
