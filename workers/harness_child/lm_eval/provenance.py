"""What a job's numbers rest on, as far as preparation knows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from lm_eval.api.task import Task

from workers.harness_child.errors import sayable
from workers.harness_child.fingerprint import config_file, content, tokenizer_content
from workers.harness_child.lm_eval.writing import written
from workers.protocol.harness import EvaluateOrder


def provenance(
    order: EvaluateOrder, tasks: Mapping[str, Mapping[str, Any]], chat_template: str | None
) -> dict[str, Any]:
    """Versions, content hashes and settings, as plain JSON values; of each task what `of_task` says."""
    spec, engine = order.spec, order.engine
    return {
        "versions": {name: version(name) for name in ("lm_eval", "transformers", "datasets", "tokenizers")},
        "backend": engine.backend,
        "backend_key": order.rules.key,
        "scoring_mode": engine.scoring_mode,
        "model": content(engine.model, engine.revision, config_file(engine)),
        "tokenizer": tokenizer_content(engine, order.rules),
        "chat_template_sha256": _sha(chat_template),
        "system_instruction_sha256": _sha(spec.system_instruction),
        "seeds": list(spec.seed),
        "num_fewshot": spec.num_fewshot,
        "limit": spec.limit,
        "gen_kwargs": dict(spec.gen_kwargs or {}),
        "tasks": dict(tasks),
    }


def of_task(task: Task) -> dict[str, Any]:
    """Version, settings and data of a built task."""
    config = json.loads(written(task.dump_config(), "the task's configuration"))
    return {
        "version": sayable(str(task.VERSION)),
        "config_sha256": _sha(json.dumps(config, sort_keys=True)),
        "num_fewshot": config.get("num_fewshot"),
        "dataset_fingerprints": _fingerprints(getattr(task, "dataset", None)),
    }


def _fingerprints(dataset: object) -> dict[str, str]:
    splits = dataset.items() if isinstance(dataset, Mapping) else [("all", dataset)]
    return {
        sayable(str(split)): sayable(str(data._fingerprint))
        for split, data in splits
        if hasattr(data, "_fingerprint")
    }


def _sha(text: str | None) -> str | None:
    return hashlib.sha256(text.encode()).hexdigest() if text else None
