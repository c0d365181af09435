from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.workloads.lm_eval.spec import LmEvalSpec
from tests.waiting import until
from tests.workers.supervision.conftest import is_running
from workers.containment.bounds import Bounds
from workers.coordinator import harness_server as fork_server
from workers.coordinator.harness_server import HarnessServer
from workers.protocol.channel import Channel
from workers.protocol.engine import EngineRecipe
from workers.protocol.fork_server import Exited
from workers.protocol.frames import Connection
from workers.protocol.harness import (
    FROM_HARNESS,
    EngineRules,
    EvaluateOrder,
    FailureTold,
    FromHarness,
    JobFailed,
    TaskEntry,
    TaskFailed,
    Working,
)
from workers.protocol.messages import packed

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 30.0
BOUNDS = Bounds(memory_bytes=900 << 20, processes=20, files=900)

CODE = """
import os, subprocess, sys, time

def where(doc, results):
    return {"exact_match": 1.0}

def fork_and_linger(dataset):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("lingering", os.getpid(), child.pid, flush=True)
    os.read(os.pipe()[0], 1)

def take_memory(dataset):
    held = []
    while True:
        held.append(bytearray(b"x") * (100 << 20))
        time.sleep(0.05)

def start_processes(dataset):
    held = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(30)]
    os.read(os.pipe()[0], 1)

def open_files(dataset):
    return [open(os.devnull) for _ in range(1000)]
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where children have their folders."""
    return tmp_path_factory.mktemp("room")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, room: Path) -> Iterator[HarnessServer]:
    """One for all tests: preloading takes seconds."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(tmp_path_factory.mktemp("hf")),
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(room),
    }
    server = HarnessServer(env=environment, bounds=BOUNDS)
    server.start()
    yield server
    server.stop()


def order(folder: Path, function: str = "fork_and_linger", **spec: Any) -> EvaluateOrder:
    """A job that fails or hangs early on: what matters here is how it ends."""
    task = folder / "hanging.yaml"
    (folder / "code.py").write_text(CODE)
    (folder / "docs.jsonl").write_text(json.dumps({"q": "x", "a": "y"}) + "\n")
    task.write_text(
        f"task: hanging\ndataset_path: json\ntest_split: test\nprocess_docs: !function code.{function}\n"
        f"dataset_kwargs: {{data_files: {{test: {folder}/docs.jsonl}}}}\n"
        "output_type: generate_until\ndoc_to_text: q\ndoc_to_target: a\n"
    )
    return EvaluateOrder(
        job_id="job",
        spec=LmEvalSpec(model="hf", tasks=("hanging",), **spec),
        engine=EngineRecipe("hf", str(folder)),
        entries=(TaskEntry("hanging", "task", str(task)),),
        rules=EngineRules("k"),
        salt=None,
    )


def give(connection: Connection, order: EvaluateOrder) -> None:
    connection.send(packed(order))


def heard(connection: Connection) -> list[FromHarness]:
    """Everything up to the end of the stream."""
    channel: Channel[EvaluateOrder, FromHarness] = Channel(connection, FROM_HARNESS)
    with closing(connection):
        return list(iter(lambda: channel.receive(PATIENCE_SECONDS), None))


def fault_and_end(connection: Connection) -> tuple[FailureTold, int]:
    """Of a job that failed as a whole: why, and how its child ended."""
    *_, failed, exited = heard(connection)
    assert isinstance(failed, JobFailed)
    assert isinstance(exited, Exited)
    return failed.fault, os.waitstatus_to_exitcode(exited.status)


def await_line(log: Path, word: str) -> list[str]:
    """The words of the first line that starts so, within a bound."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines() if log.exists() else []:
            if line.startswith(word):
                return line.split()
        time.sleep(0.01)
    raise AssertionError(f"no line {word!r} in {log}")


@pytest.fixture
def hanging(server: HarnessServer, tmp_path: Path) -> Iterator[tuple[Connection, list[int]]]:
    """A child that hangs while it prepares, and the pids of it and its own child."""
    make_model(tmp_path)
    connection = server.spawn(tmp_path / "log")
    with closing(connection):
        give(connection, order(tmp_path))
        yield connection, [int(pid) for pid in await_line(tmp_path / "log", "lingering")[1:]]


def make_model(folder: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"<s>": 0, "x": 1}, unk_token="<s>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 32}')


def test_a_child_answers_and_its_end_is_told(server: HarnessServer, tmp_path: Path) -> None:
    connection = server.spawn(tmp_path / "log")
    give(connection, order(tmp_path, limit=-1))
    fault, status = fault_and_end(connection)

    assert "limit must be positive" in fault.message
    assert status == 1
    assert "limit must be positive" in (tmp_path / "log").read_text()


def test_children_of_two_jobs_do_not_hear_each_other(server: HarnessServer, tmp_path: Path) -> None:
    first, second = (server.spawn(tmp_path / name) for name in ("first", "second"))
    give(second, order(tmp_path, limit=-2))
    give(first, order(tmp_path, limit=-1))

    assert "-2" in fault_and_end(second)[0].message
    assert "-1" in fault_and_end(first)[0].message


def test_the_server_forks_from_a_single_thread(hanging: tuple[Connection, list[int]]) -> None:
    _, pids = hanging

    assert len(list(Path(f"/proc/{_parent(pids[0])}/task").iterdir())) == 1


def test_a_child_runs_in_an_empty_folder_of_its_own(
    hanging: tuple[Connection, list[int]], all_gone: Callable[[list[int]], bool]
) -> None:
    connection, pids = hanging
    folder = Path(f"/proc/{pids[0]}/cwd").readlink()
    assert list(folder.iterdir()) == []
    assert folder != Path.cwd()
    os.kill(pids[0], signal.SIGKILL)

    assert isinstance(heard(connection)[-1], Exited)
    assert all_gone(pids)
    assert not folder.exists()


def test_a_job_is_told_where_there_is_no_room_for_its_folder(
    server: HarnessServer, room: Path, tmp_path: Path
) -> None:
    with closing(server.spawn(tmp_path / "log")):
        room.rename(room.with_name("elsewhere"))
        try:
            [told] = heard(server.spawn(tmp_path / "log"))
        finally:
            room.with_name("elsewhere").rename(room)
    assert isinstance(told, JobFailed)
    assert "no folder could be made for the harness child" in told.fault.message


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("take_memory", "more than the 0.88 GiB that one child may hold"),
        ("start_processes", "more than the 20"),
    ],
)
def test_a_child_that_passes_its_bounds_is_killed_alone_and_its_job_told(
    server: HarnessServer,
    hanging: tuple[Connection, list[int]],
    tmp_path: Path,
    function: str,
    words: str,
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_model(other)
    connection = server.spawn(other / "log")
    give(connection, order(other, function))
    *_, exited = heard(connection)
    assert isinstance(exited, Exited)
    assert os.waitstatus_to_exitcode(exited.status) == -signal.SIGKILL
    assert words in (exited.outgrew or "")
    assert is_running(hanging[1][0])


def test_a_task_that_opens_too_many_files_fails_alone(server: HarnessServer, tmp_path: Path) -> None:
    make_model(tmp_path)
    connection = server.spawn(tmp_path / "log")
    give(connection, order(tmp_path, "open_files"))
    [failed] = [message for message in heard(connection) if isinstance(message, TaskFailed)]
    assert failed.fault.code == "host_out_of_memory"
    assert "Too many open files" in failed.fault.message


def test_a_killed_child_is_told(
    hanging: tuple[Connection, list[int]], all_gone: Callable[[list[int]], bool]
) -> None:
    connection, pids = hanging
    os.kill(pids[0], signal.SIGKILL)

    exited = heard(connection)[-1]
    assert isinstance(exited, Exited)
    assert os.waitstatus_to_exitcode(exited.status) == -signal.SIGKILL
    assert all_gone(pids), "what the child had started went with it"


def test_a_job_that_its_coordinator_leaves_is_killed(
    hanging: tuple[Connection, list[int]], all_gone: Callable[[list[int]], bool]
) -> None:
    connection, pids = hanging
    connection.close()

    assert all_gone(pids)


def test_a_dead_server_ends_its_jobs_and_is_started_again(
    server: HarnessServer,
    hanging: tuple[Connection, list[int]],
    all_gone: Callable[[list[int]], bool],
    tmp_path: Path,
) -> None:
    connection, pids = hanging
    os.kill(_parent(pids[0]), signal.SIGKILL)

    assert all_gone(pids[:1])
    assert [type(message) for message in heard(connection)] == [Working]
    again = server.spawn(tmp_path / "again")
    give(again, order(tmp_path, limit=-1))
    assert fault_and_end(again)[1] == 1
    os.kill(pids[1], signal.SIGKILL)


def test_a_frozen_server_is_replaced_and_its_jobs_are_told(
    server: HarnessServer, hanging: tuple[Connection, list[int]], tmp_path: Path
) -> None:
    connection, pids = hanging
    frozen = _parent(pids[0])
    os.kill(frozen, signal.SIGSTOP)
    unheard = server.spawn(tmp_path / "unheard")

    until(lambda: server.look() or not is_running(frozen), PATIENCE_SECONDS)
    assert [type(message) for message in heard(connection)] == [Working]
    assert heard(unheard) == []
    again = server.spawn(tmp_path / "again")
    give(again, order(tmp_path, limit=-1))
    assert fault_and_end(again)[1] == 1
    os.kill(pids[1], signal.SIGKILL)


def test_a_server_that_answers_is_left_alone(
    server: HarnessServer, hanging: tuple[Connection, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, pids = hanging
    for patience in ("PRELOAD_LOOKS", "SILENT_LOOKS"):  # here looks follow each other within milliseconds
        monkeypatch.setattr(fork_server, patience, 10_000)
    for _ in range(3):
        until(server.look, PATIENCE_SECONDS)

    assert is_running(pids[0])


def test_stopping_ends_every_child(
    server: HarnessServer, hanging: tuple[Connection, list[int]], all_gone: Callable[[list[int]], bool]
) -> None:
    _, pids = hanging
    server.stop()
    server.stop()

    assert not server.alive
    assert all_gone(pids)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
