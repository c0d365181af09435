"""The checks for machines with a GPU, in small and on a CPU slot: what needs CUDA is named as not run."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.backends import is_installed, python_of
from app.gpus.nvml import Gpu
from tests.gpu import run as checks
from tests.gpu.__main__ import NAMES, OF_HF, OF_VLLM
from tests.gpu.bench import ON_CPU, Bench
from tests.gpu.difference import difference
from tests.gpu.stand_in import prepare

NEED_CUDA = {"inventory", "memory", "offload"}


@pytest.mark.timeout(600)
def test_what_needs_no_gpu_holds_on_a_cpu_slot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = checks.run(tmp_path / "gpu.json", tmp_path / "logs", cpu=True, only=OF_HF)
    lines = capsys.readouterr().out
    document = json.loads((tmp_path / "gpu.json").read_text())
    found = {check["name"]: check for check in document["checks"]}
    assert {name: check["status"] for name, check in found.items()} == {
        name: "not run" if name in NEED_CUDA else "held" for name in OF_HF
    }, lines
    assert code == 0
    assert document["device"] == "CPU slot"
    assert found["parity"]["figures"]["float32"]["requests"] > 20
    assert found["speed"]["figures"]["lm_eval_wall_seconds"] > 0
    assert found["kills"]["figures"]["worker"]["serving_again_seconds"] > 0
    assert found["cold-starts"]["figures"]["spare_early"]["to_serving_seconds"] > 0
    assert f"not run  memory          0.0 s  {checks.NO_GPU}" in lines
    assert (tmp_path / "logs" / "worker-gpu.log").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_vllm_has_to_hold_on_a_gpu_holds_on_a_cpu_slot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = checks.run(tmp_path / "gpu.json", tmp_path / "logs", cpu=True, only=OF_VLLM)
    assert code == 0, capsys.readouterr().out
    document = json.loads((tmp_path / "gpu.json").read_text())
    found = {check["name"]: check["figures"] for check in document["checks"]}
    assert found.keys() == set(OF_VLLM)
    assert found["vllm-starts"]["v1"]["warm_start_seconds"] > 0
    assert found["vllm-parity"]["float32"]["different_requests"] == 0
    assert found["vllm-ladder"]["held_by_another"]["starts"] > 1
    assert found["vllm-kills"]["core"]["serving_again_seconds"] > 0
    assert found["vllm-speed"]["to_hf"] > 0
    assert found["vllm-scoring"]["measured"]["fast"]["largest"] == 0
    assert found["vllm-cold-starts"]["spare_early"]["wall_seconds"] > 0


def test_a_machine_without_a_gpu_says_so_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "discover", list)
    assert checks.run(tmp_path / "gpu.json", None, cpu=False) == 0
    assert capsys.readouterr().out.startswith("not run: no NVIDIA GPU on this machine")
    document = json.loads((tmp_path / "gpu.json").read_text())
    assert {check["status"] for check in document["checks"]} == {"not run"}


def test_what_cannot_be_run_is_refused_before_anything_starts(tmp_path: Path) -> None:
    assert set(NAMES) == checks.CHECKS.keys()
    command = [sys.executable, "-m", "tests.gpu", "--out", str(tmp_path / "gpu.json")]
    for arguments, words in (
        (["--only", "speed,sped"], "there is no check sped; there are inventory, parity"),
        (["--wheels", str(tmp_path)], f"there are no wheels in {tmp_path}"),
        (["--vllm", str(tmp_path)], "--vllm goes with --wheels"),
    ):
        answer = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert answer.returncode == 2
        assert words in answer.stderr


def test_a_machine_whose_gpus_are_in_use_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = Gpu(0, "GPU-0", "NVIDIA H100", 80 << 30, 20 << 30, 97, 60, ())
    monkeypatch.setattr(checks, "discover", lambda: [busy])
    assert checks.run(tmp_path / "gpu.json", None, cpu=False) == 1
    assert "none of this machine's 1 GPUs is idle" in capsys.readouterr().out


def test_a_check_that_fails_is_told_and_the_next_one_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> dict[str, object]:
        raise AssertionError("the memory was never free")

    bench = Bench(None, {}, tmp_path, ON_CPU, tmp_path, None)  # type: ignore[arg-type]
    outcome = checks._try(checks.Check("kills", broken), bench)
    assert (outcome.status, outcome.reason) == ("failed", "the memory was never free")
    assert "in broken" in outcome.traceback
    assert capsys.readouterr().out.startswith("failed   kills")


def test_wheels_and_the_systems_packages_make_both_environments(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels" / "only_there-1.0-py3-none-any.whl", "only_there")
    python = prepare(tmp_path / "wheels", tmp_path / "room", tmp_path / "cache")
    ask = (
        "import only_there, lm_eval, app, importlib.metadata as m; print(only_there.HERE, m.version('evalq'))"
    )
    assert output(python, ask) == "yes 0.1.0"
    assert is_installed("hf", tmp_path / "cache")
    ask = "import only_there, lm_eval, importlib.util as u; print(only_there.HERE, u.find_spec('workers'))"
    assert output(python_of("hf", tmp_path / "cache"), ask).startswith("yes ")


def test_vllm_and_its_wheels_make_an_environment_of_their_own(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels" / "only_there-1.0-py3-none-any.whl", "only_there")
    wheel(tmp_path / "carried" / "w" / "beside-1.0-py3-none-any.whl", "beside")
    (tmp_path / "carried" / "vllm").mkdir()
    (tmp_path / "carried" / "vllm" / "__init__.py").write_text("HERE = 'yes'\n")
    prepare(tmp_path / "wheels", tmp_path / "room", tmp_path / "cache", tmp_path / "carried")
    assert is_installed("vllm", tmp_path / "cache")
    ask = "import vllm, beside, lm_eval, importlib.util as u; print(vllm.HERE, u.find_spec('only_there'))"
    assert output(python_of("vllm", tmp_path / "cache"), ask) == "yes None"
    ask = "import importlib.util as u; print(u.find_spec('vllm'), u.find_spec('beside'))"
    assert output(python_of("hf", tmp_path / "cache"), ask) == "None None"


@pytest.mark.parametrize(
    ("ours", "near"), [("-2000.0", True), ("-2010.0", True), ("-2050.0", False), ("-1.0", False)]
)
def test_sums_of_one_model_keep_two_digits(ours: str, near: bool) -> None:
    rows = [sample([each, "False"], acc=1.0) for each in (ours, "-2000.0")]
    mine, other = [({**SAME, "results": 1}, {"t": [row]}) for row in rows]
    found = difference(mine, other)
    assert found.near is near
    assert found.none is (ours == "-2000.0")


def test_a_difference_is_counted_request_by_request() -> None:
    ours = sample(["-1.5", "False"], ["-2.0", "False"], acc=1.0)
    theirs = sample(["-1.5", "False"], ["-2.25", "True"], acc=0.0)
    found = difference(({**SAME, "results": 1}, {"t": [ours]}), ({**SAME, "results": 2}, {"t": [theirs]}))
    assert (found.documents, found.requests, found.different_requests) == (1, 2, 1)
    assert (found.largest, found.flipped, found.same_metrics, found.none) == (0.25, 1, False, False)
    assert difference(({**SAME, "results": 1}, {"t": [ours]}), ({**SAME, "results": 1}, {"t": [ours]})).none


SAME: dict[str, Any] = {"versions": {}, "n-shot": {}, "n-samples": {}}


def sample(*responses: list[Any], acc: float) -> dict[str, object]:
    """A row of a multiple-choice task."""
    return {
        "doc_hash": "d",
        "resps": [[response] for response in responses],
        "filtered_resps": list(responses),
        "acc": acc,
    }


def output(python: Path, code: str) -> str:
    """What a program prints."""
    command = [str(python), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.strip()


def wheel(path: Path, name: str) -> None:
    """A package with one module, as pip takes it."""
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "HERE = 'yes'\n")
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
