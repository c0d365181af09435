"""`evalq backends calibrate`, up to where the measuring begins."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.backends.tolerances import keep
from app.cli.calibrating import held
from app.cli.main import cli
from app.client.calls import Api
from app.gpus import naming
from app.gpus.nvml import Gpu
from app.settings import current
from tests.domain.test_tolerance import FOUND
from tests.workloads.lm_eval.reading.desk import Desk
from workers.tolerance.order import ToleranceOrder

GROUP = {"name": "a", "alive": True, "draining": False}
DEVICES = [{"id": "GPU-0", "state": "held"}, {"id": "GPU-1", "state": "free"}]


class Started(Exception):  # noqa: N818 - nothing went wrong
    """In place of the process that measures."""


@pytest.fixture
def calibrate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The verb; what it answers, or the order that it hands over."""

    def started(_: str, words: list[str], __: object) -> None:
        raise Started(json.dumps(words))

    monkeypatch.setenv("EVALQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EVALQ_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(os, "execve", started)
    current.cache_clear()

    def run(*words: str) -> Any:
        answer = CliRunner().invoke(cli, ["backends", "calibrate", *words])
        if isinstance(answer.exception, Started):
            return ToleranceOrder.from_text(json.loads(str(answer.exception))[4])
        return answer

    yield run
    current.cache_clear()


def test_the_order_holds_what_an_engine_is_started_with(
    calibrate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(Desk(tmp_path).model)
    args = "max_num_seqs=8,tensor_parallel_size=2"
    order = calibrate(
        "vllm-cpu", model, "--dtype", "bfloat16", "--model-args", args, "--documents", "40", "--accept"
    )
    assert order == ToleranceOrder(
        backend="vllm-cpu",
        model=model,
        devices="cpu:2",
        args={"dtype": "bfloat16", "max_num_seqs": 8, "max_model_len": 512},
        tensor_parallel_size=2,
        documents=40,
        accept=True,
    )
    monkeypatch.chdir(model)
    monkeypatch.setenv("HOME", model)
    assert {calibrate("vllm-cpu", name).model for name in (".", "~", f"{model}/../tiny")} == {model}
    assert calibrate("vllm-cpu", "owner/name", "--model-args", "max_length=64").args == {"max_length": 64}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hf", "m"], "nothing hangs on it for 'hf', but for these: vllm, vllm-cpu"),
        (["sglang", "m"], "nothing hangs on it"),
        (["vllm-cpu", "/nowhere"], "MODEL: "),
        (["vllm-cpu", "no name"], "neither `owner/name` on the hub nor a model folder"),
        (["vllm-cpu", "o/n", "--model-args", "pretrained=x"], "model_args.pretrained: say it as MODEL"),
        (["vllm-cpu", "o/n", "--model-args", "revision=x"], "say it as --revision"),
        (["vllm-cpu", "o/n", "--model-args", "what"], "expected key=value"),
        (["vllm-cpu", "o/n", "--model-args", "tensor_parallel_size=x"], "tensor_parallel_size"),
        (["vllm-cpu", "o/n", "--model-args", "kv_cache_dtype=fp8"], "with model_args.kv_cache_dtype"),
        (["vllm-cpu", "o/n", "--model-args", "lora_local_path=/a"], "with model_args.lora_local_path"),
        (["vllm-cpu", "o/n", "--devices", "cpu:3"], "one engine takes 1 of these devices, not 3"),
        (["vllm-cpu", "o/n", "--devices", "many"], "names no devices"),
        (["vllm", "o/n", "--devices", "cpu:1"], "vllm runs on cuda devices"),
        (["vllm-cpu", "o/n", "--documents", "3"], "3 is not in the range"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(calibrate: Any, words: list[str], told: str) -> None:
    answer = calibrate(*words)
    assert answer.exit_code == 2
    assert told in answer.stderr


@pytest.mark.parametrize(
    ("group", "devices", "told"),
    [
        ({}, {"GPU-1"}, "group a may get work for them: first `evalq drain a`"),
        ({"draining": True}, {"GPU-0"}, "which is draining, still holds them"),
        ({"draining": True}, {"GPU-1"}, None),
        ({}, {"GPU-7"}, None),
        ({"alive": False}, {"GPU-1"}, None),
    ],
)
def test_devices_that_a_worker_may_give_away_are_left_alone(
    group: dict[str, Any], devices: set[str], told: str | None
) -> None:
    why = held([GROUP | {"devices": DEVICES} | group], devices)
    assert why == told or (told and told in str(why))


def test_a_gpu_is_measured_on_only_where_no_worker_may_give_it_away(
    calibrate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [Gpu(at, f"GPU-{at}", "NVIDIA H100", 80 << 30, (1 - at) << 30, 0, 30, ()) for at in range(2)]
    groups = {"data": [GROUP | {"devices": DEVICES}]}
    monkeypatch.setattr("app.gpus.nvml.discover", lambda: gpus)
    monkeypatch.setattr(naming.parse_devices, "__defaults__", (lambda: gpus,))
    assert calibrate("vllm", "owner/name").devices == "GPU-1", "the one with more memory free"
    assert calibrate("vllm", "owner/name", "--devices", "0").devices == "GPU-0"
    monkeypatch.setattr(Api, "get", lambda _, __: groups)
    answer = calibrate("vllm", "owner/name")
    assert (answer.exit_code, "GPU-1: group a may get work" in answer.stderr) == (1, True)


def test_what_was_measured_is_listed(calibrate: Any, tmp_path: Path) -> None:
    keep(FOUND, tmp_path / "cache")
    answer = CliRunner().invoke(cli, ["backends", "list", "--quick"])
    assert "fast scoring, vllm on NVIDIA H100 with bfloat16: largest difference 0.03" in answer.stderr
    told = json.loads(CliRunner().invoke(cli, ["backends", "list", "--quick", "--json"]).stdout)
    assert {row["name"]: len(row["tolerances"]) for row in told}["vllm"] == 1
