"""Whose rules shape a prompt, and say which has no answer: those of lm-eval 0.4.13's class for the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lm_eval.models.utils import maybe_truncate, normalize_gen_kwargs, resolve_max_length
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

from workers.harness_child.lm_eval.cutting import Pair, Prompt
from workers.harness_child.lm_eval.vllm_files import processor_template, refuse_own_tokenizer
from workers.harness_child.lm_eval.vllm_length import longest
from workers.protocol.engine import EngineRecipe
from workers.protocol.harness import PromptShapes
from workers.protocol.payload import RequestKind

MOST_GENERATED = 256
"""Tokens, unless the job or the task says otherwise."""


class HFLMRules:
    """Those of HFLM, which forms its batches of whole texts itself."""

    sends_tokens = False
    """Whether an engine is given the prompt of a generation as tokens."""
    empty_has_tokens = True
    """Whether the tokenizer is asked what an empty text is, where it stands alone."""
    streams = False
    """Whether every request is answered by itself, whatever is beside it."""

    def __init__(self, engine: EngineRecipe, config: Any, tokenizer: Any) -> None:
        self.engine = self._resolved(engine, config, tokenizer)
        """With all that its prompts are cut for."""
        self.side = self._side(config)
        """`causal`, or `seq2seq` for a model that reads the context with an encoder."""
        self.max_length = self._max_length(config, tokenizer)
        self.max_gen_toks = int(engine.args.get("max_gen_toks") or MOST_GENERATED)

    def told(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The model's arguments as a document tells them: as they were asked for, and what the engine has beyond."""
        given = {name: value for name, value in self.engine.args.items() if value is not None}
        return {**asked, **given}

    @staticmethod
    def tokenizer_options(engine: EngineRecipe, config: Any) -> dict[str, Any]:
        """How the tokenizer is loaded: the model's revision is its own."""
        del config
        args = engine.args
        names = ("add_bos_token",) if args.get("gguf_file") else ("add_bos_token", "subfolder")
        return {
            "revision": str(engine.revision or "main"),
            "trust_remote_code": bool(args.get("trust_remote_code")),
            "use_fast": args.get("use_fast_tokenizer", True),
            **{name: args[name] for name in names if args.get(name) is not None},
        }

    def _resolved(self, engine: EngineRecipe, config: Any, tokenizer: Any) -> EngineRecipe:
        del config, tokenizer
        return engine

    def _side(self, config: Any) -> str:
        asked = self.engine.args.get("backend", "default")
        if asked != "default":
            return str(asked)
        seq2seq = config.model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        return "seq2seq" if seq2seq else "causal"

    def _max_length(self, config: Any, tokenizer: Any) -> int:
        given = self.engine.args.get("max_length") or self.engine.args.get("max_model_len")
        return int(given) if given else int(resolve_max_length(config, tokenizer))

    def written_with(self, named: str | None, tokenizer: Any) -> str | None:
        """The chat template that prompts are written with, where the tokenizer has one of the name asked for."""
        del tokenizer
        return named

    @property
    def window_length(self) -> int:
        """Tokens that a window of a rolling log-likelihood scores at most."""
        return self.max_length

    def chat_options(self) -> dict[str, Any]:
        """What a chat template is given beside the conversation."""
        args = self.engine.args
        thinking = args.get("enable_thinking")
        own = {} if thinking is None else {"enable_thinking": thinking}
        return {**(args.get("chat_template_args") or {}), **own}

    def fault_of_pair(self, pair: Pair) -> str | None:
        """Why lm-eval would end its run instead of answering."""
        if not pair.context or not pair.continuation:
            return f"the {'continuation' if pair.context else 'context'} has no tokens"
        return self._too_long(pair, self.max_length)

    def known(self, pair: Pair) -> tuple[float, bool] | None:
        """The response that no engine is asked for."""
        del pair
        return None

    def _too_long(self, pair: Pair, most: int) -> str | None:
        length = len(pair.continuation)
        if length <= most:
            return None
        return f"a continuation of {length} tokens exceeds max_length {self.max_length}"

    @staticmethod
    def needed_by_pair(pair: Pair) -> int:
        """The least maximum length at which nothing of it is cut: its last token is never read."""
        return len(pair.context) + len(pair.continuation) - 1

    def fault_of_prompt(self, prompt: Prompt) -> str | None:
        """The same; a prompt is cut to leave room for what is generated, so there must be some."""
        room = self.max_length - self.generated(prompt.settings)
        if self.needs_room and room <= 0:
            return f"max_gen_toks leaves no room for a prompt within max_length {self.max_length}"
        most = prompt.settings.get("max_length")
        if most and self.side == "causal" and min(prompt.length, room) >= most:
            return (
                f"generation_kwargs.max_length {most} counts the prompt too, which has {prompt.length} tokens"
            )
        return None

    @property
    def needs_room(self) -> bool:
        """Whether what is generated is held to the same length as its prompt."""
        return self.side == "causal"

    def generated(self, settings: Mapping[str, Any]) -> int:
        """Tokens at most."""
        return int(normalize_gen_kwargs(dict(settings), self.max_gen_toks)["max_gen_toks"])

    @staticmethod
    def is_sampled(settings: Mapping[str, Any]) -> bool:
        """Whether an answer is drawn at random, so that it must not serve another job.

        As `normalize_gen_kwargs` always tells the model, whose own generation_config.json is not asked.
        """
        asked = settings.get("do_sample")
        return float(settings.get("temperature") or 0.0) > 0.0 if asked is None else bool(asked)

    @staticmethod
    def greedy_by_default(settings: Mapping[str, Any]) -> bool:
        """Whether lm-eval would draw what is answered greedily here, because the settings say neither."""
        del settings
        return False

    @staticmethod
    def once(kind: RequestKind, *, grouped: bool) -> bool:
        """Whether equal requests are asked once; else each takes a row of its own, and shifts the rest."""
        return grouped and kind is RequestKind.LOGLIKELIHOOD


class UnboundedRules(HFLMRules):
    """The same, but a prompt of a generation needs no room."""

    needs_room = False


class VLLMRules(HFLMRules):
    """Those of VLLM: prompts are tokens, every request is for itself, and a token is generated after what is scored."""

    sends_tokens = True
    empty_has_tokens = False
    streams = True

    @staticmethod
    def tokenizer_options(engine: EngineRecipe, config: Any) -> dict[str, Any]:
        """The model's revision is not the tokenizer's."""
        args = engine.args
        refuse_own_tokenizer(args.get("tokenizer") or engine.model, args)
        bos = args.get("add_bos_token")
        return {
            "revision": str(args.get("tokenizer_revision") or "main"),
            "trust_remote_code": bool(args.get("trust_remote_code")),
            **({} if bos is None else {"add_bos_token": bos}),
            **({} if args.get("tokenizer") else {"config": config}),
        }

    def _resolved(self, engine: EngineRecipe, config: Any, tokenizer: Any) -> EngineRecipe:
        """The length under its one name, so that the engine is made for it; the end of thinking as text."""
        args = dict(engine.args)
        given = args.pop("max_length", None) or args.get("max_model_len")
        self._own_length = longest(config, args)
        args["max_model_len"] = int(given) if given else self._own_length
        if isinstance(end := args.get("think_end_token"), int):
            args["think_end_token"] = tokenizer.decode([end])
        return replace(engine, args=args)

    def told(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A length under the name that was asked for; the model's own is told by nobody."""
        told = super().told(asked)
        length = told.pop("max_model_len")
        if asked.get("max_length"):
            return told | {"max_length": length}
        own = length == self._own_length and not asked.get("max_model_len")
        return told if own else told | {"max_model_len": length}

    def _side(self, config: Any) -> str:
        del config
        return "causal"

    def _max_length(self, config: Any, tokenizer: Any) -> int:
        del config, tokenizer
        return int(self.engine.args["max_model_len"])

    def written_with(self, named: str | None, tokenizer: Any) -> str | None:
        """A processor's, else the default one: a name is passed over. ValueError where there is none."""
        del named
        args = self.engine.args
        name, revision = args.get("tokenizer") or self.engine.model, args.get("tokenizer_revision")
        own = processor_template(name, revision or self.engine.revision)
        return own or str(tokenizer.get_chat_template())

    @property
    def window_length(self) -> int:
        """A token stands before the window, and one is generated after it."""
        return self.max_length - 2

    def chat_options(self) -> dict[str, Any]:
        """Thinking is always told, null too; what the template's own arguments say of it is lost."""
        args = self.engine.args
        return {**(args.get("chat_template_args") or {}), "enable_thinking": args.get("enable_thinking")}

    def fault_of_pair(self, pair: Pair) -> str | None:
        """A token of the context has to stay: without it lm-eval ends its run, or its numbers are of other tokens."""
        return self._too_long(pair, self.window_length) if pair.context else "the context has no tokens"

    @staticmethod
    def needed_by_pair(pair: Pair) -> int:
        """It is read as a whole, and a token is generated after it."""
        return len(pair.context) + len(pair.continuation) + 1

    def known(self, pair: Pair) -> tuple[float, bool] | None:
        """Of no tokens: the sum of nothing, which lm-eval writes as a whole number."""
        return None if pair.continuation else (0, True)

    def fault_of_prompt(self, prompt: Prompt) -> str | None:
        """As vLLM judges what is left after the cut."""
        kept, _ = maybe_truncate(
            list(prompt.tokens or ()),
            max_gen_toks=self.generated(prompt.settings),
            max_model_len=self.max_length,
            side=self.engine.args.get("truncation_side") or "left",
            verbose=False,
        )
        if not kept:
            return "the prompt has no tokens"
        if len(kept) < self.max_length:
            return None
        return f"a prompt of {len(kept)} tokens leaves no room to generate within max_model_len {self.max_length}"

    @staticmethod
    def is_sampled(settings: Mapping[str, Any]) -> bool:
        """A temperature of 0 is greedy for vLLM, whatever else is said."""
        return HFLMRules.is_sampled(settings) and settings.get("temperature") != 0

    @staticmethod
    def greedy_by_default(settings: Mapping[str, Any]) -> bool:
        """Its settings are noted as greedy, which is then dropped: vLLM's own temperature is 1."""
        return settings.get("do_sample") is None and "temperature" not in settings

    @staticmethod
    def once(kind: RequestKind, *, grouped: bool) -> bool:
        """What is not drawn is always answered alike."""
        del kind, grouped
        return True


RULES: Mapping[PromptShapes, type[HFLMRules]] = {
    PromptShapes.HFLM: HFLMRules,
    PromptShapes.UNBOUNDED: UnboundedRules,
    PromptShapes.VLLM: VLLMRules,
}
