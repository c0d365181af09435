"""A single spare, whatever it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from app.services.retention import old_log_files
from app.settings import Settings
from tests.waiting import until
from workers.gpu_worker.group import EngineCommand
from workers.gpu_worker.spare import Spare
from workers.gpu_worker.spares import FENCE_SECONDS
from workers.supervision import child

HALF = "import os, time; os.write(int(os.environ['EVALQ_FD']), bytes(2)); print(flush=True); time.sleep(60)"

Start = Callable[[str], Spare]


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """A spare that runs this code."""
    with ExitStack() as stack:

        def started(code: str) -> Spare:
            command = EngineCommand((sys.executable, "-c", code), {}, "cpu", {})
            spare = Spare.start("echo", command, settings, "test")
            stack.callback(spare.end)
            return spare

        yield started


def test_one_that_stops_within_a_message_holds_up_nobody(start: Start) -> None:
    spare = start(HALF)
    with pytest.raises(BlockingIOError):
        until(lambda: spare.hear() is not None)


def test_the_log_of_one_that_waits_long_is_kept(start: Start, settings: Settings) -> None:
    spare = start(HALF)
    os.utime(spare.log_path, (0, 0))
    assert old_log_files(settings.data_dir, timedelta(days=1), dry_run=True) == 1
    spare.live_until(float("inf"))
    assert old_log_files(settings.data_dir, timedelta(days=1), dry_run=True) == 0


def test_spares_outlive_a_slow_start_and_slow_ends_of_others() -> None:
    assert FENCE_SECONDS > child._START_PATIENCE_SECONDS + 3 * child._KILL_PATIENCE_SECONDS
