"""What was measured, as files on a host and as choices of `scoring_mode: auto`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.backends import BACKENDS
from app.backends.scoring import ScoringCase
from app.backends.tolerances import MOST_BYTES, MOST_TOLD, keep, kept, that_hold
from app.backends.vllm.scoring import SPARED
from app.domain.engine_spec import Scoring
from app.domain.group import BackendReport, DeviceView, GroupView
from app.domain.model_facts import ModelFacts
from app.domain.replica import DeviceState
from app.domain.tolerance import Gap, Tolerance
from tests.domain.test_tolerance import FOUND

NOW = datetime(2026, 11, 27, tzinfo=UTC)
H100, H200 = FOUND, replace(FOUND, device="NVIDIA H200", fast=Gap(0.01, 0, 0))
FAR = replace(H100, model="other", fast=Gap(0.3, 40, 5))


def test_what_is_kept_is_read_the_newest_first(tmp_path: Path) -> None:
    older = replace(H100, model="before", measured_at=NOW - timedelta(days=1))
    keep(H100, tmp_path)
    keep(older, tmp_path)
    keep(replace(H100, fast=Gap(0.5, 0, 0)), tmp_path)
    assert kept("vllm", tmp_path) == [replace(H100, fast=Gap(0.5, 0, 0)), older]
    assert kept("vllm-cpu", tmp_path) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda _: b"",
        lambda _: b"[" * 5000,
        lambda _: b"\xff\xfe",
        lambda whole: whole + b" " * MOST_BYTES,
        lambda whole: whole.replace(b'"vllm"', b'"vllm-cpu"'),
        lambda whole: whole.replace(b'"largest": 0.03', b'"largest": NaN'),
        lambda whole: whole.replace(b'"model": "m"', b'"model": "\\u0000"'),
        lambda whole: whole.replace(b'"documents"', b'"papers"'),
    ],
)
def test_a_file_that_is_damaged_or_not_ours_tells_nothing(tmp_path: Path, damage: Any) -> None:
    file = keep(H100, tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    (file.parent / "folder.json").mkdir()
    (file.parent / "dangling.json").symlink_to("nowhere")
    keep(H200, tmp_path)
    assert kept("vllm", tmp_path) == [H200]


def test_a_worker_tells_what_holds_for_its_devices_and_versions(tmp_path: Path) -> None:
    report = BackendReport("vllm", H100.versions)
    keep(H100, tmp_path)
    keep(H200, tmp_path)
    keep(replace(H100, versions={"vllm": "0.32.0"}), tmp_path)
    assert that_hold(report, {"NVIDIA H100"}, tmp_path) == (H100,)
    assert that_hold(report, {"Intel"}, tmp_path) == ()
    against = replace(FAR, measured_at=H100.measured_at - timedelta(days=9))
    keep(against, tmp_path)
    for number in range(MOST_TOLD):
        keep(replace(H100, model=f"m{number}"), tmp_path)
    told = that_hold(report, {"NVIDIA H100"}, tmp_path)
    assert (len(told), told[0]) == (MOST_TOLD, against)


def group(name: str, devices: Iterable[str], *found: Tolerance, kind: str = "cuda") -> GroupView:
    backend = "vllm" if kind == "cuda" else "vllm-cpu"
    views = (
        DeviceView(f"{name}-{at}", at, device, state=DeviceState.FREE, reason=None, replica_id=None)
        for at, device in enumerate(devices)
    )
    return GroupView(
        name=name,
        host=name,
        kind=kind,
        backends=(backend,),
        version="1",
        worker_started_at=NOW,
        heartbeat_at=NOW,
        drain_requested_at=None,
        devices=tuple(views),
        installed=(BackendReport(backend, tolerances=found),),
    )


ONE = group("one", ["NVIDIA H100"], H100)
BF16 = ModelFacts(dtype="bfloat16")


@pytest.mark.parametrize(
    ("groups", "mode", "words"),
    [
        (
            [ONE],
            Scoring.FAST,
            "measured on NVIDIA H100 with bfloat16: largest difference 0.03, 1 of 2,000 greedy",
        ),
        ([ONE, group("two", ["NVIDIA H200"], H200)], Scoring.FAST, "measured on NVIDIA H100"),
        (
            [ONE, group("two", ["NVIDIA H200"])],
            Scoring.STOCK,
            "measures on NVIDIA H200 what becomes of bfloat16",
        ),
        ([group("one", ["NVIDIA H100", "NVIDIA L4"], H100)], Scoring.STOCK, "measures on NVIDIA L4"),
        (
            [group("one", ["NVIDIA H100"], replace(H100, dtype="float16"))],
            Scoring.STOCK,
            "backends calibrate vllm",
        ),
        (
            [group("one", ["NVIDIA H100"], H100, FAR)],
            Scoring.STOCK,
            "8.0 times as fast, was measured on NVIDIA H100",
        ),
        (
            [group("one", ["NVIDIA H100"], replace(FAR, accepted=True))],
            Scoring.FAST,
            "an operator has accepted it",
        ),
        ([ONE, group("cpus", ["CPU slot"], kind="cpu")], Scoring.FAST, "measured on NVIDIA H100"),
        ([], Scoring.STOCK, SPARED),
    ],
)
def test_auto_is_fast_where_it_was_measured_wherever_the_job_may_run(
    groups: list[GroupView], mode: Scoring, words: str
) -> None:
    chosen = BACKENDS["vllm"].scoring(ScoringCase("auto", facts=BF16, groups=groups))
    assert chosen.mode is mode
    assert words in str(chosen.note)


def test_a_cpu_is_known_by_its_worker() -> None:
    found = replace(H100, backend="vllm-cpu", device="Intel(R) Xeon(R)")
    cpus = group("cpus", ["CPU slot"], found, kind="cpu")
    case = ScoringCase("auto", {"dtype": "bfloat16"}, facts=BF16, groups=[cpus])
    assert BACKENDS["vllm-cpu"].scoring(case).mode is Scoring.FAST
    bare = replace(case, groups=[cpus, group("others", ["CPU slot"], kind="cpu")])
    assert BACKENDS["vllm-cpu"].scoring(bare).mode is Scoring.STOCK


@pytest.mark.parametrize(
    ("case", "mode"),
    [
        ({"args": {"dtype": "auto"}}, Scoring.FAST),
        ({"args": {"dtype": "half"}}, Scoring.STOCK),
        ({"args": {"dtype": ["bfloat16"]}}, Scoring.STOCK),
        ({"args": {"quantization": "fp8"}}, Scoring.STOCK),
        ({"args": {"kv_cache_dtype": "fp8"}}, Scoring.STOCK),
        ({"args": {"attention_backend": "TRITON_ATTN"}}, Scoring.STOCK),
        ({"args": {"lora_local_path": "/adapter"}}, Scoring.STOCK),
        ({"args": {"speculative_config": {"method": "ngram"}}}, Scoring.STOCK),
        ({"env": {"VLLM_USE_V2_MODEL_RUNNER": "1"}}, Scoring.STOCK),
        ({"facts": None}, Scoring.STOCK),
        ({"facts": ModelFacts(dtype="float32")}, Scoring.STOCK),
        ({"facts": ModelFacts(dtype="bfloat16", quantization="gptq 4-bit")}, Scoring.STOCK),
        ({"asked": "stock"}, Scoring.STOCK),
    ],
)
def test_what_was_not_measured_stays_stock(case: dict[str, Any], mode: Scoring) -> None:
    whole = replace(ScoringCase("auto", facts=BF16, groups=[ONE]), **case)
    assert BACKENDS["vllm"].scoring(whole).mode is mode
