from __future__ import annotations

from pathlib import Path

import pynvml
import pytest

from app.errors import LocalStartError
from app.single_host.parts import LocalGroup, evalq_parts, found_groups, parse_groups
from tests.gpus.machine import Machine, gpu


def test_groups_are_parsed(machine: Machine) -> None:
    machine(*map(gpu, range(3)))
    groups = parse_groups(["a=0,1", "b=2", "slots=cpu:2"])
    assert groups == [LocalGroup("a", "0,1", 2), LocalGroup("b", "2", 1), LocalGroup("slots", "cpu:2", 2)]
    assert parse_groups(["a=all"])[0].size == 3


@pytest.mark.parametrize("text", ["a", "a=", "=0", "a=cpu", "a=cpu:0", "a=0,", "a b=0", "a=gpu", "-a=0"])
def test_a_malformed_group_is_refused(text: str) -> None:
    with pytest.raises(LocalStartError, match="expected NAME=DEVICES, and as devices cpu:2 for CPU slots"):
        parse_groups([text])


@pytest.mark.parametrize("groups", [["a=0,1", "b=1,2"], ["a=1", "b=GPU-1"], ["a=1", "b=all"]])
def test_a_gpu_belongs_to_one_group(machine: Machine, groups: list[str]) -> None:
    machine(*map(gpu, range(3)))
    with pytest.raises(LocalStartError, match="GPU GPU-1 is given twice"):
        parse_groups(groups)


def test_a_name_belongs_to_one_group() -> None:
    with pytest.raises(LocalStartError, match="group a is given twice"):
        parse_groups(["a=cpu:2", "a=cpu:1"])


def test_without_gpus_there_is_one_cpu_slot(no_library: None) -> None:
    assert found_groups() == [LocalGroup("cpu", "cpu:1")]


def test_a_driver_that_does_not_answer_is_no_gpu(machine: Machine) -> None:
    machine(gpu(0), nvmlInitWithFlags=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    assert found_groups() == [LocalGroup("cpu", "cpu:1")]


def test_the_gpus_that_are_there_are_one_group(machine: Machine) -> None:
    machine(*map(gpu, range(3)))
    assert found_groups() == [LocalGroup("gpu", "all", 3)]


@pytest.mark.parametrize(
    ("count", "group", "says"),
    [
        (0, "a=0", "group a: there is no GPU 0: this host has no GPUs; CPU slots are a=cpu:1"),
        (2, "a=0,2", "group a: there is no GPU 2: this host has GPUs 0, 1"),
        (2, "a=nvlink", "group a: NVLink joins no GPUs of this host"),
        (2, "a=0,0", "names GPU 0 twice"),
    ],
)
def test_a_gpu_that_is_not_there_is_named_at_once(
    machine: Machine, count: int, group: str, says: str
) -> None:
    machine(*map(gpu, range(count)))
    with pytest.raises(LocalStartError, match=says):
        parse_groups([group])


def test_cpu_slots_ask_no_driver(machine: Machine) -> None:
    machine(nvmlInitWithFlags=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    assert parse_groups(["b=cpu:8"])[0].size == 8


def test_workers_stop_before_what_they_need() -> None:
    parts = evalq_parts(host="127.0.0.1", port=1, groups=[LocalGroup("a", "0")], env={}, logs=Path("logs"))
    ranks = {part.name: part.rank for part in parts}
    assert ranks["worker-a"] == ranks["coordinator"] > ranks["api"] == ranks["scheduler"]
