"""Holders of leases that died on this machine are known by their names alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.waiting import until
from workers.supervision.identity import dead_holders, holder_name, holder_prefix


def name_of(pid: int) -> str:
    """As the process itself would say it."""
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{holder_prefix()}{pid}|{started}"


def test_a_process_that_lives_is_not_dead() -> None:
    assert name_of(os.getpid()) == holder_name()
    assert dead_holders([holder_name()]) == []


def test_a_process_that_ended_is_dead_even_before_it_is_reaped() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        name = name_of(child.pid)
        assert dead_holders([name]) == []
        child.kill()
        until(lambda: dead_holders([name]) == [name])
    assert dead_holders([name]) == [name]


def test_a_process_that_got_a_dead_ones_id_is_another() -> None:
    assert dead_holders([f"{holder_prefix()}{os.getpid()}|1"]) != []


def test_other_machines_are_not_judged() -> None:
    assert dead_holders([f"elsewhere|boot|pid:[1]|{os.getpid()}|1"]) == []
