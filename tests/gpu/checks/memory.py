"""What happens where the GPU's memory ends: the batch size that fits, the one that does not, no cure at all."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.gpu.bench import HERE, Bench, Figures

GIB = 1 << 30
LENGTH = 1024
"""The longest shape of the tasks, in tokens."""
LEFT_FOR_AUTOMATIC, LEFT_BESIDE_ENGINE, LEFT_FOR_NOTHING = 32 * GIB, 4 * GIB, 1 * GIB
MOST = 128


def memory(bench: Bench) -> Figures:
    """Each beside another process that holds the rest of the memory."""
    bench.service.release()
    figures = {"halved": _halved(bench)}
    bench.service.release()
    figures["automatic"] = _automatic(bench)
    bench.service.await_free()
    figures["incurable"] = _incurable(bench)
    bench.service.await_free()
    return figures


def _halved(bench: Bench) -> Figures:
    """A loaded engine runs out of memory in a batch, halves it and goes on."""
    bench.service.run(bench.body(2, batch_size=1))
    with ballast(bench, LEFT_BESIDE_ENGINE) as held:
        job = bench.service.run(bench.body(32, batch_size=64))
    warnings = [event["data"] for event in bench.service.events(job["id"]) if event["type"] == "job.warning"]
    changes = [warning["change"] for warning in warnings]
    assert changes[:1] == ["batch size 64 -> 32"], warnings
    assert {warning["code"] for warning in warnings} == {"gpu_out_of_memory"}, warnings
    return {"held_elsewhere_gib": round(held / GIB, 1), "changes": changes}


def _automatic(bench: Bench) -> Figures:
    """The probed size beside the largest that fits, in the same free memory."""
    with ballast(bench, LEFT_FOR_AUTOMATIC):
        command = [str(bench.python), str(HERE / "largest_batch.py"), str(bench.model), "bfloat16"]
        answer = subprocess.run(
            [*command, str(LENGTH), str(MOST)], capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr[-2000:]
        largest = int(answer.stdout.split()[-1])
        job = bench.service.run(bench.body(48, batch_size="auto"))
        log = bench.service.http.get(f"/jobs/{job['id']}/logs").text
    bench.service.release()
    sizes = {int(length): int(size) for length, size in re.findall(r"length=(\d+)\): (\d+)", log)}
    assert LENGTH in sizes, log[-2000:]
    warned = [event for event in bench.service.events(job["id"]) if event["type"] == "job.warning"]
    assert not warned, warned
    assert sizes[LENGTH] <= largest, (sizes, largest)
    return {"left_gib": LEFT_FOR_AUTOMATIC // GIB, "probed": sizes, f"largest_of_{LENGTH}_tokens": largest}


def _incurable(bench: Bench) -> Figures:
    """Less memory than the weights take: the job fails, names the cause and what to do."""
    with ballast(bench, LEFT_FOR_NOTHING):
        job = bench.service.finished(bench.service.submit(bench.body(2)))
    error = job["error"]
    assert (job["status"], error["code"]) == ("failed", "gpu_out_of_memory"), job
    assert error["hint"], error
    assert error["attempts"], error
    return {"message": error["message"][:200], "hint": error["hint"], "attempts": len(error["attempts"])}


@contextmanager
def ballast(bench: Bench, leave_bytes: int) -> Iterator[int]:
    """Another process holds all of the GPU's free memory but this much; how much that is, in bytes."""
    command = [str(bench.python), str(HERE / "ballast.py"), str(leave_bytes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.communicate()
