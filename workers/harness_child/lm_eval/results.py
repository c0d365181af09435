"""lm-eval's result document and sample lines, as `lm_eval run` writes them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any

from lm_eval.api.group import Group
from lm_eval.evaluator_utils import EvalAcc, aggregate_groups
from lm_eval.loggers.evaluation_tracker import GeneralConfigTracker
from lm_eval.loggers.utils import add_tokenizer_info
from lm_eval.utils import hash_string

from workers.harness_child.errors import TASK_ERROR, TaskFailedError, caught, said
from workers.harness_child.fingerprint import commit, config_file
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.scoring import EvalResults
from workers.harness_child.lm_eval.verdicts import verdicts
from workers.harness_child.lm_eval.writing import sample_line, written, written_short
from workers.protocol.harness import EvaluateOrder, PromptShapes, SampleTold

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """What a task's results are, as lm-eval writes them."""

    rows: list[SampleTold]
    """None where the job keeps no samples."""
    metrics: str
    """The task's entry under `results`."""


class Report:
    """Collects the results of scored tasks into one document.

    What depends on the engine's own environment is what the engine said of itself (`facts`); null where none did.
    Git hashes are null: no process of evalq runs in a checkout of the user's.
    """

    def __init__(self, order: EvaluateOrder, lm: BrokerLM, *, chat_template: str | None) -> None:
        self._order = order
        self._lm = lm
        self._started = time.time()
        self._scored: dict[str, EvalResults] = {}
        self._hashes: dict[str, str] = {}
        self._tracker = GeneralConfigTracker()
        self._tracker.log_experiment_args(
            model_source=order.spec.model,
            model_args=dict(order.spec.model_args),
            system_instruction=order.spec.system_instruction,
            chat_template=chat_template,
            fewshot_as_multiturn=order.spec.multiturn,
        )

    @property
    def model_name_sanitized(self) -> str:
        """The folder `lm_eval run` would write to."""
        return str(self._tracker.model_name_sanitized)

    def add(
        self, task: str, results: EvalResults, flags: Mapping[int, tuple[bool | None, bool | None]]
    ) -> Scored:
        """Take in a task's results, with what `Replies` flags in its documents; TaskFailedError where it cannot be."""
        samples = results.pop("samples", {}).get(task, [])
        higher_is_better = results["higher_is_better"][task]
        if not isinstance(higher_is_better, Mapping):
            raise TaskFailedError(TASK_ERROR, "its higher_is_better is no mapping of metrics")
        right = verdicts(samples, higher_is_better)
        rows = [
            SampleTold(sample_line(row), correct, *flags.get(row["doc_id"], (None, None)))
            for row, correct in zip(samples, right, strict=True)
        ]
        metrics = written_short(results["results"][task], "its metrics")
        written(results, "its results")
        if self._order.spec.keeps_samples:
            parts = [row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in samples]
            self._hashes[task] = hash_string("".join(parts))
        self._scored[task] = results
        return Scored(rows, metrics)

    def document(
        self,
        order: Iterable[str],
        groups: Mapping[str, Group],
        *,
        lost: Iterable[str],
        warnings: Iterable[str],
        facts: Mapping[str, Any],
    ) -> str:
        """The document for the scored tasks among `order`; `lost` groups get no aggregate."""
        collected = EvalAcc(groups=dict(groups))
        for task in (task for task in order if task in self._scored):
            self._collect(collected, task)
        told = [*warnings, *(_drop_aggregate(groups[name], _INCOMPLETE) for name in sorted(lost))]
        told += [words for group in groups.values() for words in _failing(group, collected)]
        results = aggregate_groups(collected)._to_eval_results()
        for name, group in groups.items():
            told += _empty_aggregates(name, group, collected.metrics.get(name, {}))
        results["config"] = self._config(facts)
        results["git_hash"] = None
        results["date"] = self._started
        results |= _environment(facts)
        add_tokenizer_info(results, self._lm)
        results["task_hashes"] = {
            task: self._hashes[task] for task in collected.metrics if task in self._hashes
        }
        self._tracker.log_end_time()
        results.update(asdict(self._tracker))
        return written(results | ({"warnings": told} if told else {}), "the results", indent=2)

    def _collect(self, collected: EvalAcc, task: str) -> None:
        results = self._scored[task]
        collected.metrics[task] = results["results"][task]
        collected.configs[task] = results["configs"][task]
        collected.versions[task] = results["versions"][task]
        collected.num_fewshot[task] = results["n-shot"][task]
        collected.higher_is_better[task] = results["higher_is_better"][task]
        collected.n_samples[task] = results["n-samples"][task]

    def _config(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """As the command line types it; `model_args` with what the engine was given beyond what was asked."""
        spec = self._order.spec
        return {
            "model": spec.model,
            "model_args": self._lm.rules.told(spec.model_args),
            **(self._model_info(facts) if self._order.rules.shapes is PromptShapes.HFLM else {}),
            "batch_size": str(spec.batch_size),
            "batch_sizes": [],
            "device": facts.get("device"),
            "use_cache": None,
            "limit": None if spec.limit is None else float(spec.limit),
            "bootstrap_iters": spec.bootstrap_iters,
            "gen_kwargs": dict(spec.gen_kwargs or {}),
            "random_seed": spec.seed[0],
            "numpy_seed": spec.seed[1],
            "torch_seed": spec.seed[2],
            "fewshot_seed": spec.seed[3],
        }

    def _model_info(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of `HFLM.get_model_info`; commits as the local hub cache has them, "" for a folder."""
        engine, dtype = self._order.engine, facts.get("dtype")
        adapters = {name: engine.args.get(name) for name in ("peft", "delta")}
        return {
            "model_num_parameters": facts.get("parameters"),
            "model_dtype": dtype and f"torch.{dtype}",
            "model_revision": engine.revision or "main",
            "model_sha": commit(engine.model, engine.revision, config_file(engine)) or "",
            **{
                f"{name}_sha": commit(str(model), engine.revision) or ""
                for name, model in adapters.items()
                if model
            },
        }


def _environment(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of lm-eval's `add_env_info`."""
    versions = facts.get("versions") or {}
    return {
        "pretty_env_info": facts.get("environment"),
        "transformers_version": versions.get("transformers") or version("transformers"),
        "lm_eval_version": versions.get("lm_eval") or version("lm_eval"),
        "upper_git_hash": None,
    }


def file_date() -> str:
    """The time in the names of lm-eval's files."""
    return datetime.now().isoformat().replace(":", "-")  # noqa: DTZ005 - lm-eval uses local time


_INCOMPLETE = "not all of its tasks have results"
"""lm-eval would average over the members that are left, which looks like the group's score."""


def _failing(group: Group, collected: EvalAcc) -> list[str]:
    """Drop an aggregate of what cannot be averaged, at which lm-eval would end the run."""
    told: list[str] = []
    with caught(lambda error: told.append(_drop_aggregate(group, said(error)))):
        group.aggregate(collected.metrics)
    return told


def _drop_aggregate(group: Group, reason: str) -> str:
    group.aggregate_metric_list = None
    warning = f"group {group.name} has no aggregate: {reason}"
    _log.warning(warning)
    return warning


def _empty_aggregates(name: str, group: Group, found: Iterable[str]) -> list[str]:
    """What a group would aggregate and lm-eval leaves out without a word; `found` are the entries it has."""
    pairs = [tuple(entry.split(",", 1)) for entry in found if "," in entry]
    metrics = {metric for metric, _ in pairs}
    said = []
    for each in group.aggregate_metric_list or ():
        if each.filter_list is None and each.metric not in metrics:
            said.append(f"group {name} has no {each.metric}: none of its tasks has this metric")
        missing = [key for key in each.filter_list or () if (each.metric, key) not in pairs]
        said += [
            f"group {name} has no {each.metric} of filter {key}: none of its tasks has it" for key in missing
        ]
    return said
