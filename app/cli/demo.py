"""`evalq demo`: a real evaluation, from nothing to a table of results, on this machine's CPU."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from app.cli.output import Output
from app.cli.results import found
from app.cli.terminal import CliError
from app.cli.watch import follow_to_end
from app.client.calls import Api, Json, UnreachableError
from app.client.exit_codes import Exit

EXAMPLES = Path(__file__).parents[2] / "examples"
START_SECONDS = 180.0
STOP_SECONDS = 150.0
MODEL = "SmolLM2-135M-Instruct"


@click.command(name="demo")
@click.option("--data", type=click.Path(path_type=Path), help="Keep everything here; else it is thrown away.")
def demo(data: Path | None) -> None:
    """Evaluate a small real model on two example tasks, on two CPU slots, and show the results.

    The first run makes the engine's environment and the model, which takes minutes; later runs start at once.
    """
    if not EXAMPLES.is_dir():
        raise CliError(f"the demo needs evalq's source folder: {EXAMPLES} is not there")
    with tempfile.TemporaryDirectory(prefix="evalq-demo-", ignore_cleanup_errors=True) as scratch:
        sys.exit(_run(data or Path(scratch), kept=data is not None))


def _run(data: Path, *, kept: bool) -> Exit:
    from app.settings import current

    out = Output()
    model = _model(out, current().cache_dir)
    job = json.loads((EXAMPLES / "requests" / "demo.json").read_text(encoding="utf-8"))
    job["model_args"]["pretrained"] = str(model)
    with _service(out, data, model.parent) as api:
        out.say(f"submitting {', '.join(job['tasks'])} with {MODEL}")
        job_id = api.post("/v1/jobs", job)["id"]
        code = follow_to_end(api, Output(ids_only=True), job_id, show=True)
        if code in {Exit.OK, Exit.PARTIALLY_FAILED}:
            out.data(found(api, job_id).table())
        _say_how_it_went(out, api.job(job_id))
    for line in next_steps(model, data if kept else None):
        out.say(line)
    return code


def _model(out: Output, cache: Path) -> Path:
    """The demo's model, and the environment that runs it; made on first use."""
    from app.backends import install, is_installed, python_of

    if not is_installed("hf", cache):
        out.say("making the environment of the hf backend, once (a few minutes)")
        install("hf", cache, progress=_counted(out))
    out.say(f"the model: {MODEL}, made on first use")
    command = [str(python_of("hf", cache)), str(EXAMPLES / "models" / "smollm2.py"), str(cache)]
    answer = subprocess.run(command, env=_quiet_env(), stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode != 0:
        raise CliError(f"the model could not be made: {' '.join(command)} failed")
    return Path(answer.stdout.strip().splitlines()[-1])


def _counted(out: Output) -> Callable[[str], None]:
    """What pip fetches, by tens: its own lines are fifty."""
    fetched = itertools.count(1)

    def progress(line: str) -> None:
        if line.startswith("Collecting") and (count := next(fetched)) % 10 == 0:
            out.say(f"  {count} packages so far")

    return progress


@contextmanager
def _service(out: Output, data: Path, models: Path) -> Iterator[Api]:
    """A whole evalq on a free port with two CPU slots; stopped at the end."""
    from app.single_host.parts import evalq_command
    from app.single_host.ports import free_port
    from app.single_host.processes import spawn

    port = free_port()
    data.mkdir(parents=True, exist_ok=True)
    env = _quiet_env() | {"EVALQ_TASK_PATHS": str(EXAMPLES / "tasks"), "EVALQ_MODEL_PATHS": str(models)}
    log = data / "up.log"
    out.say("starting Postgres, Valkey, api, scheduler, coordinator and a worker with two CPU slots")
    options = ("--port", str(port), "--data", str(data), "--group", "demo=cpu:2")
    process = spawn(evalq_command("up", *options), log=log, env=env, if_orphaned=signal.SIGTERM)
    try:
        with Api(f"http://127.0.0.1:{port}") as api:
            _await_ready(api, process, log)
            yield api
    finally:
        out.say("stopping everything")
        _stop(process)


def _await_ready(api: Api, process: subprocess.Popen[bytes], log: Path) -> None:
    from app.single_host.processes import last_line

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CliError(last_line(log).removeprefix("evalq: ") or "the service did not start")
        try:
            api.get("/readyz")
        except UnreachableError:
            time.sleep(0.1)
        else:
            return
    raise CliError(f"the service was not ready within {START_SECONDS:.0f} s (log: {log})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _quiet_env() -> dict[str, str]:
    """No hub is asked, and two replicas share two cores."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def _say_how_it_went(out: Output, job: Json) -> None:
    progress, replicas = job["progress"], len(job.get("replicas") or ())
    reused = f", {progress['reused']} of them answered before" if progress.get("reused") else ""
    worked = f", on {replicas} replicas in {job['gpu_seconds']:.0f} device-seconds" if replicas else ""
    out.say(f"{progress['done']} requests{reused}{worked}")


def next_steps(model: Path, kept: Path | None) -> list[str]:
    """What to type to do the same by hand, with the model that was made: no hub is asked."""
    evalq = shlex.quote(sys.argv[0]) if Path(sys.argv[0]).name == "evalq" else "evalq"
    keep = f" --data {shlex.quote(str(kept))}" if kept else ""
    arguments = shlex.quote(f"pretrained={model},dtype=float32")
    measured = f"lm_eval run --model hf --model_args {arguments} --tasks evalq_demo --batch_size 8"
    return [
        "next, the same by hand, in two shells:",
        f"  EVALQ_TASK_PATHS={shlex.quote(str(EXAMPLES / 'tasks'))} {evalq} up --group local=cpu:2{keep}",
        f"  {evalq} submit --watch -- {measured}",
        f"  {evalq} --help, README.md and docs/ show what else there is",
    ]
