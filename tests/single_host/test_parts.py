from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from app.errors import LocalStartError
from app.single_host.parts import LocalGroup, check_gpus, evalq_parts, found_groups, parse_groups


def test_groups_are_parsed() -> None:
    groups = parse_groups(["a=0,1", "b=2", "slots=cpu:2"])
    assert groups == [LocalGroup("a", "0,1"), LocalGroup("b", "2"), LocalGroup("slots", "cpu:2")]
    assert [group.size for group in groups] == [2, 1, 2]


@pytest.mark.parametrize("text", ["a", "a=", "=0", "a=cpu", "a=cpu:0", "a=0,", "a b=0", "a=gpu", "-a=0"])
def test_a_malformed_group_is_refused(text: str) -> None:
    with pytest.raises(LocalStartError, match="expected NAME=cpu:2 or NAME=0,1,2,3"):
        parse_groups([text])


def test_a_gpu_belongs_to_one_group() -> None:
    with pytest.raises(LocalStartError, match="GPU 1 is given twice"):
        parse_groups(["a=0,1", "b=1,2"])


def test_a_name_belongs_to_one_group() -> None:
    with pytest.raises(LocalStartError, match="group a is given twice"):
        parse_groups(["a=0", "a=cpu:1"])


def test_without_gpus_there_is_one_cpu_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert found_groups() == [LocalGroup("cpu", "cpu:1")]


def test_the_gpus_that_are_there_are_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 3)
    assert found_groups() == [LocalGroup("gpu", "0,1,2")]


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    module = ModuleType("pynvml")
    module.__dict__.update(nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: count, nvmlShutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "pynvml", module)


@pytest.mark.parametrize(
    ("count", "group", "says"),
    [
        (0, "a=0", "group a: there is no GPU 0 on this host: NVML shows none; CPU slots are a=cpu:1"),
        (2, "a=0,2", "group a: there is no GPU 2 on this host: NVML shows GPUs 0 to 1"),
    ],
)
def test_a_gpu_that_is_not_there_is_named_at_once(
    count: int, group: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(LocalStartError, match=says):
        check_gpus(parse_groups([group]))


def test_gpus_that_are_there_and_cpu_slots_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    check_gpus(parse_groups(["a=0,1", "b=cpu:8"]))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    check_gpus(parse_groups(["b=cpu:8"]))


def test_workers_stop_before_what_they_need() -> None:
    parts = evalq_parts(host="127.0.0.1", port=1, groups=[LocalGroup("a", "0")], env={}, logs=Path("logs"))
    ranks = {part.name: part.rank for part in parts}
    assert ranks["worker-a"] == ranks["coordinator"] > ranks["api"] == ranks["scheduler"]
