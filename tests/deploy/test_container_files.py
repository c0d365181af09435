"""The container files are linted, and say what they must; no Docker engine is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COMPOSE_FILES = (
    "docker-compose.yml",
    "docker-compose.gpu.yml",
    "docker-compose.monitoring.yml",
    "docker-compose.traces.yml",
)


def hadolint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "hadolint", dockerfile], capture_output=True, text=True, check=False)


def compose_schema(file: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def services(name: str = "docker-compose.yml") -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return dict(document["services"])


def stages() -> dict[str, list[str]]:
    """The Dockerfile's lines by stage, `FROM` lines included."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("FROM "):
            found[line.split(" AS ")[1]] = []
        if found:
            found[next(reversed(found))].append(line)
    return found


def test_the_dockerfile_is_clean() -> None:
    answer = hadolint(ROOT / "Dockerfile")
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ("USER 10001:10001", "USER root", "DL3002"),
        ("FROM python:3.11-slim-bookworm", "FROM python", "DL3006"),
        ("COPY app app", "CPY app app", "unexpected"),
    ],
)
def test_a_broken_dockerfile_is_found(tmp_path: Path, good: str, bad: str, rule: str) -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert good in text
    broken = tmp_path / "Dockerfile"
    broken.write_text(text.replace(good, bad))
    answer = hadolint(broken)
    assert answer.returncode != 0
    assert rule in answer.stdout + answer.stderr


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_a_compose_file_follows_the_schema(name: str) -> None:
    answer = compose_schema(ROOT / name)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("docker-compose.yml", "condition: service_healthy", "condition: service_happy"),
        ("docker-compose.yml", "healthcheck:", "healthchek:"),
        ("docker-compose.gpu.yml", "device_ids:", "devices_ids:"),
    ],
)
def test_a_broken_compose_file_is_found(tmp_path: Path, name: str, good: str, bad: str) -> None:
    text = (ROOT / name).read_text()
    assert good in text
    broken = tmp_path / name
    broken.write_text(text.replace(good, bad))
    assert compose_schema(broken).returncode != 0


def test_what_runs_waits_for_the_schema_and_the_broker() -> None:
    for name in ("api", "scheduler", "coordinator", "worker", "worker-vllm"):
        conditions = {on: how["condition"] for on, how in services()[name]["depends_on"].items()}
        assert conditions == {"migrate": "service_completed_successfully", "redis": "service_healthy"}


def test_a_worker_has_longer_to_stop_than_docker_gives() -> None:
    for name in ("api", "scheduler", "coordinator", "worker", "worker-vllm", "postgres"):
        assert int(services()[name]["stop_grace_period"].removesuffix("s")) > 10


def test_only_loopback_is_published() -> None:
    published = [port for service in services().values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_only_the_api_gets_the_operators_key() -> None:
    holders = [name for name, service in services().items() if "BOOTSTRAP" in str(service.get("environment"))]
    assert holders == ["api"]


def test_a_gpu_worker_names_its_devices() -> None:
    for service in services("docker-compose.gpu.yml").values():
        [device] = service["deploy"]["resources"]["reservations"]["devices"]
        asked = service["command"][service["command"].index("--devices") + 1].split(",")
        assert asked == [str(index) for index in range(len(device["device_ids"]))]


def test_compose_builds_every_image_that_it_does_not_pull() -> None:
    all_of_them = [service for name in COMPOSE_FILES for service in services(name).values()]
    targets = {service["build"]["target"] for service in all_of_them if "build" in service}
    assert targets == {"control", "hf", "vllm", "vllm-cpu"}
    assert targets <= stages().keys()


def test_the_coordinator_can_read_gguf_files() -> None:
    assert services()["coordinator"]["image"] == services()["worker"]["image"]


def test_each_backends_image_holds_that_backend() -> None:
    for name in ("hf", "vllm", "vllm-cpu"):
        assert f"RUN evalq backends install {name}" in stages()[f"build-{name}"]
        assert [line for line in stages()[name] if f"--from=build-{name} " in line]


def test_engines_on_gpus_have_shared_memory_of_their_own() -> None:
    for name in ("worker", "worker-vllm"):
        assert services("docker-compose.gpu.yml")[name]["shm_size"] == "16gb"
        assert "ipc" not in services("docker-compose.gpu.yml")[name]


def test_vllm_is_started_by_its_profile_alone() -> None:
    assert [name for name, service in services().items() if "profiles" in service] == ["worker-vllm"]


def test_what_is_shipped_installs_nothing_by_itself() -> None:
    for name in ("base", "control", "hf", "vllm", "vllm-cpu"):
        assert not [line for line in stages()[name] if "pip install" in line or "apt-get" in line]


def test_everything_copied_is_there_and_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = [line.split() for lines in stages().values() for line in lines]
    copied = [words[1:-1] for words in lines if words[:1] == ["COPY"] and not words[1].startswith("--from")]
    assert copied
    for source in (name for names in copied for name in names):
        assert (ROOT / source).exists()
        assert {source, source.split("/")[0]} & allowed
