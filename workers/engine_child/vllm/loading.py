"""How a model is loaded: lm-eval's names and defaults in, an `LLM` out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm import LLM

from workers.engine_child.contract import Engine, Reports
from workers.engine_child.environment import Environment
from workers.engine_child.vllm.measuring import EXTENSION
from workers.engine_child.vllm.streaming import VLLMEngine
from workers.engine_child.vllm.watch import Guard
from workers.protocol.engine import EngineRecipe, Load, ScoringMode

HARNESS_ONLY = frozenset(
    {"add_bos_token", "prefix_token_id", "enable_thinking", "chat_template_args", "device", "swap_space"}
)
"""What shapes prompts, which is done, and what lm-eval ignores."""

OURS = frozenset({"max_gen_toks", "truncation_side", "think_end_token", "lora_local_path", "max_batch_size"})


def load(order: Load, reports: Reports) -> Engine:
    """The model, loaded for prompts of the length that they were cut for; raises whatever vLLM does."""
    recipe, environment, guard = order.engine, Environment(), Guard(reports.died)
    try:
        llm = LLM(**arguments(recipe), worker_extension_cls=EXTENSION)
        _check_length(llm, recipe.args)
    except RuntimeError:  # all that vLLM says of a process that was killed while it started
        guard.explain()
        guard.stop()
        raise
    except BaseException:
        guard.stop()
        raise
    guard.loaded()
    return VLLMEngine(llm, recipe, reports, guard, environment.text())


def arguments(recipe: EngineRecipe) -> dict[str, Any]:
    """What `LLM` is made with; names as in lm-eval's VLLM, with its defaults."""
    args = {name: value for name, value in recipe.args.items() if name not in HARNESS_ONLY | OURS}
    length = args.pop("max_length", None)
    if length is not None:
        args["max_model_len"] = length
    if "max_batch_size" in recipe.args:
        args.setdefault("max_num_seqs", recipe.args["max_batch_size"])
    if recipe.args.get("lora_local_path"):
        args |= {"enable_lora": True, "max_lora_rank": int(args.get("max_lora_rank") or 16)}
        args.setdefault("lora_target_modules", _targets(Path(recipe.args["lora_local_path"])))
    defaults = {"dtype": "auto", "seed": 1234, "disable_log_stats": True}
    shape = {
        "tensor_parallel_size": recipe.tensor_parallel_size,
        "pipeline_parallel_size": recipe.pipeline_parallel_size,
    }
    fast = recipe.scoring_mode is ScoringMode.FAST
    told = (
        {"disable_log_stats": False} if fast else {}
    )  # what was begun anew is told in a request's own figures
    return {**defaults, **args, **shape, **told, "model": recipe.model, "revision": recipe.revision}


def _targets(adapter: Path) -> list[str] | None:
    """What the adapter changes, where it is a list of names; None leaves it to vLLM, which makes ready for anything.

    With an output layer made ready vLLM on CPU cannot tell log-likelihoods: its engine ends.
    """
    try:
        targets = json.loads((adapter / "adapter_config.json").read_text()).get("target_modules")
    except (OSError, ValueError, AttributeError):
        return None  # vLLM says what is wrong with it
    listed = isinstance(targets, list) and all(isinstance(name, str) for name in targets)
    return sorted(targets) if listed and targets else None


def _check_length(llm: Any, args: Mapping[str, Any]) -> None:
    """The prompts were cut for one length, and the engine must have it."""
    asked, has = args.get("max_model_len", args.get("max_length")), llm.llm_engine.model_config.max_model_len
    if asked is not None and int(asked) != has:
        raise ValueError(f"the prompts were cut for {asked} tokens, and the engine takes {has}")
