from __future__ import annotations

from pathlib import Path

import pytest

from workers.supervision.oom import oom_kills


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    write(tmp_path / "proc/vmstat", "nr_free_pages 12\noom_kill 5\n")
    return tmp_path


@pytest.mark.parametrize("group", ["", "system.slice/evalq.service"])
def test_the_control_groups_own_count_comes_first(machine: Path, group: str) -> None:
    write(machine / "proc/self/cgroup", f"0::/{group}\n")
    write(machine / "sys/fs/cgroup" / group / "memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert oom_kills(machine) == 2


def test_without_it_the_machines_count_is_used(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "4:memory:/docker/1\n0::/\n")
    assert oom_kills(machine) == 5


def test_a_kernel_that_counts_nothing_counts_none(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) == 0


def test_this_machine_answers() -> None:
    assert oom_kills() >= 0
