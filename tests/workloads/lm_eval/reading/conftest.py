"""A desk of the test's own; modules that change nothing beside it share one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workloads.lm_eval.reading.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
