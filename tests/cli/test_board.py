"""Jobs as they go on, and tables on narrow screens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from io import StringIO

import pytest
from rich.console import Console

from app.cli.board import drawn_list, watch_list
from app.cli.output import Output
from app.client.calls import Json, UnreachableError
from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job, job_id
from tests.cli.test_hostile_text import ERROR, LISTED, poisoned
from tests.domain.test_visible import drives_nothing

ROUNDS: list[list[Json] | None] = [
    [job(1, "queued")],
    None,
    None,
    [job(2, "queued"), job(1, "running")],
    [job(2, "queued"), job(1, "running", progress=job(1)["progress"])],
    [job(2, "queued"), job(1, "failed")],
]


def asked() -> Callable[[], Sequence[Json]]:
    """What the service says in each round; None where it is away, and Ctrl-C at the end."""
    rounds: Iterator[list[Json] | None] = iter(ROUNDS)

    def ask() -> Sequence[Json]:
        try:
            listed = next(rounds)
        except StopIteration:
            raise KeyboardInterrupt from None
        if listed is None:
            raise UnreachableError("nothing answers")
        return listed

    return ask


def test_each_job_that_moved_is_a_line_until_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    watch_list(Output(), asked(), pause=lambda _: None)
    said = capsys.readouterr()
    assert [line.split()[:2] for line in said.out.splitlines()] == [
        [job_id(1), "queued"],
        [job_id(1), "running"],
        [job_id(2), "queued"],
        [job_id(1), "failed"],
    ]
    assert said.err == "nothing answers; asking again\n"


def test_for_a_script_it_is_a_job_or_an_id_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    watch_list(Output(as_json=True), asked(), pause=lambda _: None)
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == [
        *("queued", "running", "queued", "failed")
    ]
    watch_list(Output(ids_only=True), asked(), pause=lambda _: None)
    assert capsys.readouterr().out.split() == [job_id(number) for number in (1, 1, 2, 1)]


def test_the_verb_watches_what_its_filters_choose(
    evalq: Evalq, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    api.jobs = [job(1)]
    monkeypatch.setattr("app.cli.board.watch_list.__kwdefaults__", {"pause": stop})
    answer = evalq("jobs", "--watch", "--tag", "nightly")
    assert (answer.exit_code, answer.stdout.split()[0]) == (0, job_id(1))
    assert [seen.query["tag"] for seen in api.seen] == ["nightly"]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 60 columns and 4 lines."""
    for module in ("output", "jobs"):
        monkeypatch.setattr(f"app.cli.{module}.stdout_is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "4")


def test_what_is_drawn_fits_the_screen_and_drives_nothing(narrow: None) -> None:
    screen = StringIO()
    listed = [poisoned(job(number, reason="x" * 500)) for number in range(9, 0, -1)]
    Console(file=screen, width=60, height=4).print(drawn_list(listed))
    lines = screen.getvalue().splitlines()
    assert (len(lines), max(map(len, lines))) == (3, 60)
    assert drives_nothing(screen.getvalue())


def test_a_table_is_as_wide_as_the_terminal(evalq: Evalq, api: FakeApi, narrow: None) -> None:
    api.jobs = [job(1, "queued", reason="x" * 500 + "\nmore")]
    shown = evalq("jobs").stdout.splitlines()
    assert ([len(line) for line in shown], shown[1][-1]) == ([len(shown[0]), 60], "…")


def test_of_many_tasks_a_terminal_shows_those_with_trouble(evalq: Evalq, api: FakeApi, narrow: None) -> None:
    good = [LISTED | {"name": f"t{at}", "status": "succeeded", "error": None} for at in range(56)]
    api.jobs = [job(1, "partially_failed", tasks=[*good, LISTED | {"error": ERROR}])]
    shown = evalq("show", job_id(1)).stdout
    assert "57 tasks: 56 succeeded, 1 failed; each of them: --tasks" in shown
    assert ("toy: " in shown, "t0: " in shown) == (True, False)
    assert "t55: " in evalq("show", job_id(1), "--tasks").stdout


def test_elsewhere_every_task_is_shown(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(1, tasks=[LISTED | {"name": f"t{at}"} for at in range(57)])]
    assert sum(line.startswith("  t") for line in evalq("show", job_id(1)).stdout.splitlines()) == 57
