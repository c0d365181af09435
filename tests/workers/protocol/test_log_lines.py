"""The lines of children, and that the worker that reads them knows them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.log_lines import RecordFormatter
from tests.test_log_lines import record
from workers.protocol.log_lines import ChildFormatter
from workers.supervision.log_tail import first_error_block


def test_children_log_as_the_service_does() -> None:
    said = record("hello %s", "you")
    said.created = 1764244800.25
    said.msecs = 250.0
    assert ChildFormatter().format(said) == RecordFormatter().format(said)


def test_an_error_in_a_childs_log_is_found_without_its_prefix() -> None:
    said = record("it failed")
    said.levelname = "ERROR"
    assert first_error_block(f"before\n{ChildFormatter().format(said)}\n") == "it failed"


@pytest.mark.parametrize("name", ["lm_eval.api.task", "workers.harness_child.lm_eval.evaluate", "somebodys"])
def test_a_harness_child_writes_nothing_otherwise(name: str) -> None:
    code = (
        "import logging; from lm_eval.utils import setup_logging; from workers.protocol.log_lines import log_so;"
        f"setup_logging(); log_so(logging.WARNING, 'lm_eval'); logging.getLogger({name!r}).warning('hello')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stderr.partition("Z ")[2] == f"WARNING {name}: hello\n"
