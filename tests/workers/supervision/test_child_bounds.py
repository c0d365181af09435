from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings
from workers.supervision.child_bounds import engine_bounds, harness_bounds, memory_bytes

GIB = 1 << 30


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    write(tmp_path / "proc/meminfo", "MemTotal:       8388608 kB\nMemFree: 1 kB\n")
    write(tmp_path / "proc/self/cgroup", "4:memory:/docker/1\n1:cpu:/\n0::/a.slice/b.service\n")
    return tmp_path


def test_a_host_without_limits_has_its_memory(machine: Path) -> None:
    write(machine / "sys/fs/cgroup/a.slice/b.service/memory.max", "max\n")
    assert memory_bytes(machine) == 8 * GIB


@pytest.mark.parametrize(
    "file",
    [
        "sys/fs/cgroup/a.slice/b.service/memory.max",
        "sys/fs/cgroup/a.slice/memory.max",
        "sys/fs/cgroup/memory.max",
        "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes",
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
    ],
)
def test_a_control_group_may_let_it_have_less(machine: Path, file: str) -> None:
    write(machine / file, f"{2 * GIB}\n")
    assert memory_bytes(machine) == 2 * GIB


def test_this_machine_answers() -> None:
    assert memory_bytes() > 0


def test_the_settings_are_shares_of_it(settings: Settings) -> None:
    own = settings.model_copy(update={"harness_memory_share": 0.25, "engine_memory_share": 0.0})
    assert harness_bounds(own) == (int(memory_bytes() * 0.25), 4096, 65536)
    assert engine_bounds(own).memory_bytes == 0
