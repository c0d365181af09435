"""Every field of a job that is stored has an effect: in the engine, in the harness, or where work is given out."""

from __future__ import annotations

import ast
from collections.abc import Callable
from inspect import getsource
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from app.settings import Settings
from app.workloads.lm_eval.reading.read import Submission
from app.workloads.lm_eval.spec import FIELDS, LmEvalSpec
from tests.clusters import test_waiting
from tests.services import test_wishes
from tests.workloads.lm_eval.reading import test_scoring
from tests.workloads.lm_eval.reading.desk import Desk
from tests.world import World
from workers.coordinator.orders import order_to_evaluate

UNSAFE = {"allow_unsafe_code": True, "env_allowed": ("NCCL_DEBUG",), "echo_engine": True}


def engine(submission: Submission) -> Any:
    """What placement and the engine child get."""
    return submission.engine.to_json()


def harness(submission: Submission) -> Any:
    """What the harness child reads of the job."""
    return {name: value for name, value in submission.spec.to_json().items() if name in READ}


def attributes(source: str, *holders: str) -> set[str]:
    """Names that are read of what is called so."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if ast.unparse(node.value).rpartition(".")[2] in holders}


def read_by_the_harness() -> set[str]:
    """Fields that its code names, by themselves or through what the spec makes of them."""
    sources = [file.read_text() for file in Path("workers/harness_child").rglob("*.py")]
    named = set().union(*(attributes(source, "spec", "_spec") for source in sources))
    made = [function for name, function in vars(LmEvalSpec).items() if name in named - set(FIELDS)]
    told = [dedent(getsource(getattr(function, "fget", function))) for function in made]
    return named.union(*(attributes(source, "self") for source in told)) & set(FIELDS)


READ = read_by_the_harness()


def planned(submission: Submission) -> Any:
    return submission.plan.memory


def shown(submission: Submission) -> Any:
    return submission.spec.name, submission.spec.tags


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for all: nothing is stored."""
    return Desk(tmp_path_factory.mktemp("fields"))


REACHES: dict[str, tuple[Any, Callable[[Submission], Any]]] = {
    "model": ("echo", engine),
    "model_args": ({"pretrained": "owner/name", "dtype": "float16"}, engine),
    "env": ({"NCCL_DEBUG": "INFO"}, engine),
    "trust_remote_code": (True, engine),
    "gpus_per_replica": (2, engine),
    "model_size": ("70B", planned),
    "tasks": (["arc_easy"], harness),
    "num_fewshot": (3, harness),
    "batch_size": (7, harness),
    "max_batch_size": (16, harness),
    "limit": (5, harness),
    "samples": ({"ours": [1]}, harness),
    "gen_kwargs": ({"temperature": 0.5}, harness),
    "apply_chat_template": (True, harness),
    "system_instruction": ("be brief", harness),
    "fewshot_as_multiturn": (False, harness),
    "log_samples": (False, harness),
    "seed": (7, harness),
    "predict_only": (True, harness),
    "confirm_run_unsafe_code": (True, harness),
    "metadata": ({"lengths": [1]}, harness),
    "bootstrap_iters": (10, harness),
    "name": ("a name", shown),
    "tags": (["nightly"], shown),
}
"""By field a value, and where it is seen."""


def test_a_job_that_reuses_nothing_asks_under_names_of_its_own(world: World, settings: Settings) -> None:
    jobs = [world.jobs.view(world.submit(reuse_responses=reuses)).job for reuses in (True, False)]
    salts = [order_to_evaluate(job, {}, settings).salt for job in jobs]
    assert salts == [None, str(jobs[1].id)]


HELD: dict[str, Callable[..., None]] = {
    "group": test_wishes.test_a_job_that_names_a_group_is_answered_there_only,
    "wait_for_capacity": test_waiting.test_a_job_may_wait_for_what_is_lacking,
    "scoring_mode": test_scoring.test_what_is_asked_for_is_in_the_engine_spec,
    "replicas": test_wishes.test_a_job_is_answered_by_no_more_replicas_at_once_than_it_asks_for,
    "priority": test_wishes.test_chunks_go_by_priority_then_age,
    "deadline_seconds": test_wishes.test_a_job_that_is_late_gets_no_engine,
    "reuse_responses": test_a_job_that_reuses_nothing_asks_under_names_of_its_own,
}
"""By field the test that shows it held where work is given out."""

REFUSED = {"callback_url": "https://example.com/done"}
"""What this version cannot do is refused, not stored."""


def test_every_field_is_here() -> None:
    assert REACHES.keys() | HELD.keys() | REFUSED.keys() == set(FIELDS)


@pytest.mark.parametrize("field", REACHES)
def test_a_field_reaches_who_needs_it(desk: Desk, field: str) -> None:
    value, seen = REACHES[field]
    assert seen(desk.submit(UNSAFE, **{field: value})) != seen(desk.submit(UNSAFE))


@pytest.mark.parametrize("field", REFUSED)
def test_a_field_without_effect_is_refused(desk: Desk, field: str) -> None:
    assert field in desk.faults(**{field: REFUSED[field]})
