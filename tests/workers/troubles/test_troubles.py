"""One task's trouble stays its own: jobs with broken tasks, through the real coordinator, fork server and harness."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest

from app.db.replicas import ReplicaRepository
from app.db.session import make_sessions
from app.domain.chunk import Room, after_failure
from app.domain.failure import Failure, FailureCode
from app.domain.job import OPEN, Job, JobTask
from app.domain.lease import Lease
from app.domain.placement import Start
from app.services.serving import Answer, Claimed
from app.services.submission import SubmissionService
from app.settings import Settings
from app.workloads.lm_eval.reading.read import Submission
from tests.servers import Postgres
from tests.waiting import until
from tests.workers.harness_child.conftest import documents, make_model, write_data
from tests.workers.harness_child.coordinator import generation, score
from tests.workers.troubles.ways import BASES, UNREADABLE, WAYS, Way, sound, write
from tests.world import World, make_world
from workers.coordinator.harness_server import harness_server
from workers.coordinator.worker import Coordinator
from workers.gpu_worker.chunk_messages import divided
from workers.protocol.payload import unpack_requests

FINE = [f"fine_{base}" for base in BASES]
OTHERS_WORDS = ("psycopg", "SQL", "INSERT", "UPDATE", "sqlalchemy", "job_events")
DEATHS = 4
REFUSED = Failure(FailureCode.ENGINE_DIED, "the request kills every engine")


@dataclass
class Service:
    """A coordinator, and tasks that it finds."""

    world: World
    settings: Settings
    folder: Path
    model: Path
    coordinator: Coordinator

    def check(self, *tasks: str) -> Submission:
        fields = {
            "model": "echo",
            "model_args": {"pretrained": str(self.model)},
            "tasks": list(tasks),
            "limit": 4,
            "batch_size": 4,
            "bootstrap_iters": 10,
            "reuse_responses": False,
        }
        return SubmissionService(sessions=self.world.sessions, settings=self.settings).check(fields)

    def run(self, *tasks: str) -> Job:
        """Post a job and bring it to its end."""
        job, _ = self.world.jobs.submit(self.check(*tasks), "alice")
        self.coordinator.run(job.id)
        return self.world.jobs.view(job.id).job

    def left(self, job: Job, task: str) -> tuple[Any, ...]:
        """What a task leaves behind."""
        document = self.world.results.document(job.id)
        rows = self.world.results.samples(job.id, task=task, after=None, limit=100)
        return document["results"][task], document["versions"][task], [sample.row for sample in rows]


@contextmanager
def engine(world: World, spec: Submission) -> Iterator[None]:
    """One replica that answers whatever waits."""
    (device,) = world.devices(1, backend="echo")
    with world.sessions.begin() as session:
        placed = ReplicaRepository(session).place(Start("a", (device,), spec.engine))
    assert placed
    claimed = world.serving.claim(placed, "worker")
    assert claimed
    lease, over = claimed[0], threading.Event()
    world.serving.loaded(lease, {})

    def serve() -> None:
        while not over.wait(0.02):
            world.serving.renew(lease)
            for each in world.serving.next(lease, spec.engine.key, Room(1e9, 64, empty=False)).chunks:
                answer(world, lease, each)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def answer(world: World, lease: Lease, claimed: Claimed) -> None:
    chunk = claimed.chunk
    items = unpack_requests(chunk.payload)
    if any("Refuse" in item for item in items):
        counted, fate = after_failure(chunk, interrupted=False)
        world.serving.chunk_failed(lease, counted, fate, divided(counted, fate), REFUSED)
        return
    answers = [score(*item) if chunk.gen_kwargs is None else generation(item, {}) for item in items]
    world.serving.answer(lease, claimed, Answer([msgpack.packb(value) for value in answers], 0.1, 1))


@pytest.fixture(scope="module")
def service(
    postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("tasks")
    write_data(folder / "train.jsonl", documents(20, start=100))
    write_data(folder / "test.jsonl", documents(12))
    for stage, ways in WAYS.items():
        for name, way in ways.items():
            write(folder, task_name(stage, name), way)
    for file, text in UNREADABLE.items():
        (folder / file).write_text(text)
    for base in BASES:
        sound(folder, f"fine_{base}", base)
    model = make_model(tmp_path_factory.mktemp("models") / "tiny", adds_bos=False)
    with postgres.database() as url:
        settings = Settings(
            database_url=url,
            redis_url=redis_url,
            data_dir=tmp_path_factory.mktemp("data"),
            task_paths=(folder,),
            model_paths=(model.parent,),
            echo_engine=True,
            poll_seconds=0.02,
        )
        sessions = make_sessions(settings)
        world = make_world(sessions, settings)
        coordinator = Coordinator(
            coordination=world.coordination,
            settings=settings,
            server=harness_server(settings),
            stopping=threading.Event(),
            holder="coordinator",
        )
        coordinator.start()
        made = Service(world, settings, folder, model, coordinator)
        with engine(world, made.check(*FINE)):
            yield made
        coordinator.stop()
        sessions.close()


def task_name(stage: str, name: str) -> str:
    return f"{stage.replace('-', '_')}_{name}"


@pytest.fixture(scope="module")
def undisturbed(service: Service) -> dict[str, tuple[Any, ...]]:
    job = service.run(*FINE)
    assert job.status == "succeeded", job
    return {task: service.left(job, task) for task in FINE}


@pytest.mark.parametrize("stage", WAYS)
def test_the_others_are_evaluated_and_kept(
    stage: str, service: Service, undisturbed: dict[str, tuple[Any, ...]]
) -> None:
    ways = {task_name(stage, name): way for name, way in WAYS[stage].items()}
    asked = [f"{name}_group" if way.group else name for name, way in ways.items()]
    job = service.run(*asked, *FINE)
    assert {task: service.left(job, task) for task in FINE} == undisturbed
    assert job.status in {"succeeded", "partially_failed"}, job.error
    assert not [task for task in job.tasks if task.status in OPEN]
    told = {task.name: task for task in job.tasks}
    wrong = [
        words
        for name, way in ways.items()
        for words in faults(told.get(name) or told.get(f"{name}_group"), way)
    ]
    assert not wrong, "\n".join(wrong)
    shown = json.dumps([event.data for event in service.world.jobs.events(job.id, 0)]) + str(job.error)
    assert not [word for word in OTHERS_WORDS if word in shown]


def test_answers_show_null_for_no_number_and_files_what_lm_eval_writes(service: Service) -> None:
    job = service.run("aggregation_nested_nan", "metrics_beyond_64_bits")
    metrics = {task.name: task.metrics for task in job.tasks}
    assert job.status == "succeeded"
    nested = metrics["aggregation_nested_nan"] or {}
    assert nested["exact_match,none"] == {"mean": None, "n": [6, None]}
    (results, *_) = service.world.results.artifacts(job.id)
    text = "".join(service.world.results.artifact(job.id, results).pieces)
    assert '"mean": NaN' in text
    assert f'"one,none": {float(2**70)}' in text


def test_a_folder_stands_for_its_tasks(service: Service) -> None:
    assert list(service.check(f"{service.folder}/fine_*.yaml").tasks) == sorted(FINE)


def test_deaths_of_the_fork_server_end_no_job(
    service: Service, undisturbed: dict[str, tuple[Any, ...]]
) -> None:
    job, _ = service.world.jobs.submit(service.check(*FINE), "alice")
    thread = threading.Thread(target=service.coordinator.run, args=(job.id,))
    thread.start()
    killed: set[int] = set()
    for _ in range(DEATHS):
        until(lambda: fork_servers() - killed, 30)
        (server,) = fork_servers() - killed
        os.kill(server, signal.SIGKILL)
        killed.add(server)
    thread.join()
    ended = service.world.jobs.view(job.id).job
    assert ended.status == "succeeded", ended.error
    assert {task: service.left(ended, task) for task in FINE} == undisturbed
    (log,) = (service.settings.data_dir / "logs" / "jobs").glob(f"{job.id}-{ended.attempt}-*.log")
    pieces = service.world.results.logs(job.id, seen={}).pieces
    assert "".join(piece.text for piece in pieces if piece.owner == job.id) == log.read_text()


def fork_servers() -> set[int]:
    """Of this process; their children are not its own."""
    found = set()
    for process in psutil.Process().children():
        with suppress(psutil.Error):  # it has ended
            found |= {process.pid} if "workers.harness_child.main" in process.cmdline() else set()
    return found


def faults(task: JobTask | None, way: Way) -> Iterator[str]:
    """How the task's end differs from what the way says."""
    if task is None:
        yield f"no task for {way}"
        return
    ends = task.error.code if task.error and task.status == "failed" else str(task.status)
    says = task.error.message if task.error else ""
    if ends != way.ends or way.says not in says:
        yield f"{task.name} ends {ends}, not {way.ends}: {says[:300]!r}, not {way.says!r}"
