"""What `--quick` leaves out: tests that start a server, a model or a part of the service, and the slowest others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

SERVERS = {"postgres", "redis_url"}
"""Fixtures that start a server; whoever needs one, by whatever way, is left out."""

SLOW = (
    "backends/test_arguments.py",  # asks the hf environment, which loads torch
    "backends/test_install.py",  # runs pip
    "browser",  # looks at pages in Chromium
    "deploy",  # builds a wheel
    "e2e",
    "faults/test_faults.py",
    "gpu",
    "models/test_meta_device.py",  # asks the hf environment, which loads torch
    "single_host",  # starts servers outside fixtures
    "vllm_failures",
    "workers/engine_child",  # loads models
    "workers/harness_child",  # evaluates with lm-eval
    "workers/supervision/test_fork_server.py",  # loads lm-eval for every server
    "workers/troubles",
    "workloads/lm_eval/tasks/test_stored_tasks.py",  # reads all of lm-eval's task files
)
"""Tests of which each starts more than it can say in a second."""

PROGRAMS = {"initdb", "pg_ctl", "postgres", "redis-server", "valkey-server"}
TESTS = Path(__file__).parent


def is_slow(path: Path) -> bool:
    """Whether the tests below a path are listed as slow."""
    return any(path.is_relative_to(TESTS / listed) for listed in SLOW)


def needs_server(item: pytest.Item) -> bool:
    """Whether any fixture behind a test starts one."""
    return bool(SERVERS & set(getattr(item, "fixturenames", ())))


def refuse_servers(event: str, arguments: Sequence[object]) -> None:
    """An audit hook: a test that starts a server after all fails and names it, instead of making `--quick` slow."""
    if event == "subprocess.Popen":
        program, command = arguments[0], arguments[1]
        named = program or (command[0] if isinstance(command, list | tuple) else command)
        if Path(str(named)).name in PROGRAMS:
            raise RuntimeError(f"a quick test starts {named}: list it in tests/quick.py, or use the fixtures")
