"""lm-eval's result document and sample lines, as `lm_eval run` writes them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from typing import Any

from lm_eval.api.group import Group
from lm_eval.evaluator_utils import EvalAcc, aggregate_groups
from lm_eval.loggers.evaluation_tracker import GeneralConfigTracker
from lm_eval.loggers.utils import add_tokenizer_info
from lm_eval.utils import handle_non_serializable, hash_string, sanitize_list

from workers.harness_child.broker_lm import BrokerLM
from workers.harness_child.job import Job
from workers.harness_child.scoring import EvalResults
from workers.harness_child.verdicts import verdicts

_log = logging.getLogger(__name__)


class Report:
    """Collects the results of scored tasks into one document.

    Left out, because the control plane cannot know them: git hashes, `pretty_env_info`, and of the model's
    own figures the number of parameters and the dtype.
    """

    def __init__(self, job: Job, lm: BrokerLM, *, chat_template: str | None, model_sha: str) -> None:
        self._job = job
        self._lm = lm
        self._model_sha = model_sha
        self._started = time.time()
        self._scored: dict[str, EvalResults] = {}
        self._hashes: dict[str, str] = {}
        self._tracker = GeneralConfigTracker()
        self._tracker.log_experiment_args(
            model_source=job.spec.model,
            model_args=dict(job.spec.model_args),
            system_instruction=job.spec.system_instruction,
            chat_template=chat_template,
            fewshot_as_multiturn=job.spec.multiturn,
        )

    @property
    def model_name_sanitized(self) -> str:
        """The folder `lm_eval run` would write to."""
        return str(self._tracker.model_name_sanitized)

    def add(self, task: str, results: EvalResults) -> list[tuple[str, bool | None]]:
        """Take in a task's results; its sample lines and whether each is right, where the job keeps samples."""
        samples = results.pop("samples", {}).get(task, [])
        self._scored[task] = results
        if self._job.spec.keeps_samples:
            parts = [row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in samples]
            self._hashes[task] = hash_string("".join(parts))
        right = verdicts(samples, results["higher_is_better"][task])
        return [(sample_line(row), correct) for row, correct in zip(samples, right, strict=True)]

    def metrics(self, task: str) -> dict[str, Any]:
        """A scored task's entry under `results`, as plain JSON values."""
        entry: dict[str, Any] = json.loads(_json(self._scored[task]["results"][task]))
        return entry

    def document(
        self, order: Iterable[str], groups: Mapping[str, Group], lost: Iterable[str], warnings: Iterable[str]
    ) -> str:
        """The document for the scored tasks among `order`; `lost` groups get no aggregate."""
        collected = EvalAcc(groups=dict(groups))
        for task in (task for task in order if task in self._scored):
            self._collect(collected, task)
        told = [*warnings, *(_drop_aggregate(groups[name]) for name in sorted(lost))]
        results = aggregate_groups(collected)._to_eval_results()
        for name, group in groups.items():
            told += _empty_aggregates(name, group, collected.metrics.get(name, {}))
        results["config"] = self._config()
        results["date"] = self._started
        results["transformers_version"] = version("transformers")
        results["lm_eval_version"] = version("lm_eval")
        add_tokenizer_info(results, self._lm)
        results["task_hashes"] = {
            task: self._hashes[task] for task in collected.metrics if task in self._hashes
        }
        self._tracker.log_end_time()
        results.update(asdict(self._tracker))
        return _json(results | ({"warnings": told} if told else {}), indent=2)

    def _collect(self, collected: EvalAcc, task: str) -> None:
        results = self._scored[task]
        collected.metrics[task] = results["results"][task]
        collected.configs[task] = results["configs"][task]
        collected.versions[task] = results["versions"][task]
        collected.num_fewshot[task] = results["n-shot"][task]
        collected.higher_is_better[task] = results["higher_is_better"][task]
        collected.n_samples[task] = results["n-samples"][task]

    def _config(self) -> dict[str, Any]:
        spec, engine = self._job.spec, self._job.engine
        model_info = {"model_revision": engine.revision or "main", "model_sha": self._model_sha}
        return {
            "model": spec.model,
            "model_args": dict(spec.model_args),
            **(model_info if engine.backend == "hf" else {}),
            "batch_size": spec.batch_size,
            "batch_sizes": [],
            "device": None,
            "use_cache": None,
            "limit": spec.limit,
            "bootstrap_iters": spec.bootstrap_iters,
            "gen_kwargs": dict(spec.gen_kwargs or {}),
            "random_seed": spec.seed[0],
            "numpy_seed": spec.seed[1],
            "torch_seed": spec.seed[2],
            "fewshot_seed": spec.seed[3],
        }


def file_date() -> str:
    """The time in the names of lm-eval's files."""
    return datetime.now().isoformat().replace(":", "-")  # noqa: DTZ005 - lm-eval uses local time


def sample_line(sample: dict[str, Any]) -> str:
    """A sample as EvaluationTracker.save_results_samples writes it, without the line's end."""
    arguments = {
        f"gen_args_{i}": {f"arg_{j}": value for j, value in enumerate(args)}
        for i, args in enumerate(sample["arguments"])
    }
    row = sample | {
        "resps": sanitize_list(sample["resps"]),
        "filtered_resps": sanitize_list(sample["filtered_resps"]),
        "arguments": arguments,
        "target": str(sample["target"]),
    }
    return _json(row)


def _drop_aggregate(group: Group) -> str:
    """lm-eval would average over the members that are left, which looks like the group's score."""
    group.aggregate_metric_list = None
    warning = f"group {group.name} has no aggregate: not all of its tasks have results"
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


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, default=handle_non_serializable, ensure_ascii=False)
