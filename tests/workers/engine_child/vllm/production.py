"""A vLLM engine as a worker starts it: under its shim, in processes of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

from app.settings import Settings
from tests.tiny_models import tiny_vllm_llama, vllm_python
from tests.waiting import until
from tests.workers.engine_child.supervisor import BOOTSTRAP, Supervisor
from workers.containment.bounds import Bounds, below
from workers.containment.shared_memory import Segments, inodes
from workers.protocol.engine import EngineRecipe, FromEngine, Load, Progressed
from workers.supervision.child import Child
from workers.supervision.environment import child_environment
from workers.supervision.janitor import Mark

LOAD_SECONDS = 240.0
ARGS = {"dtype": "float32", "enforce_eager": True, "block_size": 32, "max_num_seqs": 4}
LONG = {"until": ["\x01"], "do_sample": False, "max_gen_toks": 480, "min_tokens": 480}


class Engine:
    """The engine, what it says, and its processes."""

    def __init__(self, child: Child, log: Path) -> None:
        self.child = child
        self.log = log
        self.line = Supervisor(child.connection, cast("Any", child))
        self.line.patience_seconds = LOAD_SECONDS
        self.folder = Path(f"/proc/{child.pid}/cwd").readlink().parent

    def load(self, cache: Path, ranks: int = 1, **args: Any) -> FromEngine:
        """Load the tiny model; how that went."""
        self.send_load(cache, ranks, **args)
        message = self.line.wire.receive(LOAD_SECONDS)
        assert message is not None, self.log.read_text()[-3000:]
        return message

    def send_load(self, cache: Path, ranks: int = 1, **args: Any) -> None:
        """Let it begin."""
        model = str(tiny_vllm_llama(Settings().cache_dir))
        recipe = EngineRecipe("vllm-cpu", model, None, ARGS | args, {}, ranks)
        self.line.wire.send(Load(recipe, "cpu", 64, 8 << 30, str(cache)))

    def wait_for(self, name: str) -> None:
        """Until there is a process whose name begins so."""
        until(lambda: any(each.startswith(name) for each in self.processes()), LOAD_SECONDS)

    def processes(self) -> dict[str, int]:
        """Those of vLLM, by their names."""
        found = {}
        for pid in below(self.child.pid):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").partition("\0")[0].strip()
                if words.startswith("VLLM::"):
                    found[words.removeprefix("VLLM::")] = pid
        return found

    def segments(self) -> set[str]:
        """Names of the shared memory that they have mapped."""
        held = Segments()
        held.note(self.processes().values())
        return {name for inode, name in inodes().items() if inode in held._theirs}

    def last(self) -> list[FromEngine]:
        """What it still says, without progress, to its end."""
        said: list[FromEngine] = []
        while (message := self.line.wire.receive(60)) is not None:
            if not isinstance(message, Progressed):
                said.append(message)
        return said

    def work(self, prompts: int = 10) -> UUID:
        """Give it generations, and see it make tokens."""
        asked = [[0, 5, 2 + each % 20] for each in range(prompts)]
        chunk = self.line.send_chunk("generate_until", asked, gen_kwargs=LONG)
        while not (isinstance(message := self.line.receive(), Progressed) and message.tokens):
            pass
        return chunk


@contextmanager
def vllm_engine(**env: str) -> Iterator[Engine]:
    """Its child, not loaded yet."""
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "engine.log"
        with Child.start(
            [str(vllm_python(Settings().cache_dir)), "-E", "-P", str(BOOTSTRAP)],
            env=child_environment(os.environ, (), quiet | env),
            log_path=log,
            mark=Mark.replica(uuid4()),
            bounds=Bounds(),
        ) as child:
            yield Engine(child, log)
