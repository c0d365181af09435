"""The same job run by lm-eval alone, on a model that gives the tests' made-up answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lm_eval.utils
import transformers
from lm_eval.api.model import TemplateLM
from lm_eval.evaluator import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.utils import _add_special_kwargs, configure_pad_token, has_bos_prefix
from lm_eval.tasks import TaskManager

from .coordinator import Ordered, generation, score

DIFFERENT = {
    *("date", "total_evaluation_time_seconds", "model_source"),
    *("git_hash", "pretty_env_info", "upper_git_hash"),
}
DIFFERENT_CONFIG = {"model", *("model_num_parameters", "model_dtype", "model_revision", "model_sha")}
"""The reference's model is an object with no weights, so that lm-eval asks it nothing."""


class ReferenceLM(TemplateLM):
    """HFLM's handling of text, copied from lm-eval 0.4.13, with made-up answers."""

    def __init__(self, model: Path, max_length: int, add_bos_token: bool | None = None) -> None:
        super().__init__()
        options = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
        self.tokenizer = configure_pad_token(transformers.AutoTokenizer.from_pretrained(model, **options))
        self.max_length = max_length
        self.add_bos_token = add_bos_token

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        if self.tokenizer.bos_token_id is not None:
            return self.tokenizer.bos_token_id
        return self.tokenizer.eos_token_id

    @property
    def tokenizer_name(self) -> str:
        return self.tokenizer.name_or_path.replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        special = _add_special_kwargs(add_special_tokens, self.add_bos_token)
        prefix = self.tokenizer.decode(self.prefix_token_id)
        if add_special_tokens is None and has_bos_prefix(string, prefix):
            special["add_special_tokens"] = False
        return self.tokenizer.encode(string, **special)

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
        return self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )

    def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        return [score(context, continuation) for _, context, continuation in requests]

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        answers = []
        for (text,) in [request.args for request in requests]:
            windows = lm_eval.utils.get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            answers.append(sum(score(*lm_eval.utils.make_disjoint_window(window))[0] for window in windows))
        return answers

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        return [generation(*request.args) for request in requests]


def run(order: Ordered, folder: Path, lm: ReferenceLM) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The results document and the sample lines that `lm_eval run` would write into a folder."""
    spec = order.fields
    metadata = order.model_args | (spec.get("metadata") or {})
    multiturn = spec.get("fewshot_as_multiturn")
    if multiturn is None and spec.get("apply_chat_template"):
        multiturn = True
    tracker = EvaluationTracker(output_path=str(folder))
    seeds = spec["seed"]
    predict_only = spec.get("predict_only", False)
    results = simple_evaluate(
        model=lm,
        model_args=order.model_args,
        tasks=list(order.names),
        num_fewshot=spec.get("num_fewshot"),
        batch_size=str(spec["batch_size"]),
        limit=None if spec.get("limit") is None else float(spec["limit"]),
        samples=spec.get("samples"),
        bootstrap_iters=spec["bootstrap_iters"],
        log_samples=True,
        evaluation_tracker=tracker,
        system_instruction=spec.get("system_instruction"),
        apply_chat_template=spec.get("apply_chat_template", False),
        fewshot_as_multiturn=multiturn,
        gen_kwargs=spec.get("gen_kwargs") or {},
        task_manager=TaskManager(include_defaults=False, include_path=str(order.folder), metadata=metadata),
        predict_only=predict_only,
        random_seed=seeds[0],
        numpy_random_seed=seeds[1],
        torch_random_seed=seeds[2],
        fewshot_random_seed=seeds[3],
        metadata=metadata,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    (document,) = folder.rglob("results_*.json")
    lines = {
        name: next(folder.rglob(f"samples_{name}_*.jsonl")).read_text(encoding="utf-8").split("\n")[:-1]
        for name in samples
    }
    return json.loads(document.read_text(encoding="utf-8")), lines


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """A document without what differs from run to run, or what only an engine knows."""
    rest = {key: value for key, value in document.items() if key not in DIFFERENT}
    config = {key: value for key, value in rest.pop("config").items() if key not in DIFFERENT_CONFIG}
    return rest | {"config": config}
