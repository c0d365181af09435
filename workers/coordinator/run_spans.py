"""One job in a coordinator's hands as spans of its trace: the run, and below it one step after the other."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.job import Job, Phase
from app.traces import Attributes, Beginning, NoTraces, Traces, TraceSpan, Untold

LOOK_UP = "look up"

STEPS: Mapping[Phase, str] = {
    Phase.PREPARING: "prepare",
    Phase.WAITING_FOR_GPU: "wait",
    Phase.LOADING: "wait",
    Phase.EVALUATING: "answer",
    Phase.SCORING: "score",
}


class RunSpans:
    """From a claim until the job is let go. A later run is in the same trace; while it is parked the job has none."""

    def __init__(self, traces: Traces, job: Job) -> None:
        self._traces = traces
        attributes: Attributes = {"evalq.job.id": str(job.id), "evalq.job.attempt": job.attempt}
        self._run = traces.begin(Beginning("run", job.trace, attributes))
        self._step: TraceSpan = Untold()
        self._name: str | None = None
        self._failure: str | None = None

    def enter(self, step: str) -> None:
        """The step before is over; one that goes on goes on."""
        if step == self._name:
            return
        self._step.end()
        self._name, self._step = step, self._traces.begin(Beginning(step, self._run.trace))

    def failed(self, code: str) -> None:
        """The run ends as a failure of this kind."""
        self._failure = code

    def end(self) -> None:
        """The job is let go."""
        self._step.end(failure=self._failure)
        self._run.end(failure=self._failure)
        self._traces, self._name = NoTraces(), None
