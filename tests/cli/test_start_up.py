from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import VERBS, cli


def test_the_entry_point_imports_click_and_little_else() -> None:
    code = "import sys, app.cli.main; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(answer.stdout.split())
    assert modules.isdisjoint({"httpx", "rich", "sqlalchemy", "pydantic", "celery", "fastapi"})


def test_the_entry_point_is_imported_quickly() -> None:
    code = "import time; t = time.perf_counter(); import app.cli.main; print(time.perf_counter() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert min(float(run.stdout) for run in runs) < 0.15


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_there_and_explains_itself(verb: str) -> None:
    answer = CliRunner().invoke(cli, [verb, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "Usage:" in answer.output


def test_help_lists_every_verb_with_a_line() -> None:
    answer = CliRunner().invoke(cli, ["--help"])
    assert all(f"  {verb} " in answer.output for verb in VERBS)


def test_an_unknown_verb_is_wrong_usage() -> None:
    assert CliRunner().invoke(cli, ["evaluate"]).exit_code == 2


def test_an_error_raised_on_purpose_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = os.environ | {"EVALQ_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    began = time.monotonic()
    answer = subprocess.run(
        [sys.executable, "-m", "app.cli", "scheduler"], capture_output=True, text=True, env=env, check=False
    )
    assert answer.returncode == 1
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    assert answer.stderr.startswith("evalq: no database at postgresql+psycopg://nobody@127.0.0.1:1/none")
    assert time.monotonic() - began < 20
