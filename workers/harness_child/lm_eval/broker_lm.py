"""The model as lm-eval sees it: a tokenizer, a configuration, and answers that engines gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import jinja2
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, TemplateLM
from lm_eval.models.utils import configure_pad_token, has_bos_prefix

from workers.harness_child.errors import TOKENIZER_ERROR, JobFailedError
from workers.harness_child.lm_eval.gguf_files import unpacked
from workers.harness_child.lm_eval.model_files import load_config, load_tokenizer
from workers.harness_child.lm_eval.shapes import RULES
from workers.protocol.engine import EngineRecipe
from workers.protocol.harness import PromptShapes

Answer = Callable[[Instance, int], object]
"""The answer to the n-th repeat of an instance."""


class BrokerLM(LM):  # type: ignore[misc]
    """Resolves everything that shapes a prompt as lm-eval's own class does, without weights or torch."""

    def __init__(
        self,
        engine: EngineRecipe,
        answer: Answer,
        gguf_python: str | None = None,
        shapes: PromptShapes = PromptShapes.HFLM,
    ) -> None:
        """`gguf_python` reads GGUF files."""
        super().__init__()
        self._args = engine.args
        self._answer = answer
        in_files = unpacked(engine, gguf_python) if engine.args.get("gguf_file") else nullcontext(engine)
        with in_files as readable:
            config = load_config(readable)
            own = engine.args.get("tokenizer")
            options = RULES[shapes].tokenizer_options(engine if own else readable, config)
            tokenizer = load_tokenizer(own or readable.model, options)
        tokenizer.name_or_path = own or engine.model
        self.tokenizer = configure_pad_token(tokenizer, model_config=config)
        self.rules = RULES[shapes](engine, config, self.tokenizer)
        self.backend, self.max_length = self.rules.side, self.rules.max_length
        self.add_bos_token: bool | None = engine.args.get("add_bos_token")
        self.prefix_token_id = self._resolve_prefix()
        self._prefix_text = self.tokenizer.decode(self.prefix_token_id)
        self.template: str | None = None
        """What writes conversations."""

    chat_template = TemplateLM.chat_template

    def choose_template(self, asked: bool | str) -> str | None:
        """Write prompts with a chat template from now on, if one is asked for; return the one that lm-eval names."""
        if not asked:
            self.template = None
            return None
        try:
            named: str | None = self.chat_template(asked)
            self.template = self.rules.written_with(named, self.tokenizer)
        except ValueError as error:  # the tokenizer has no template of that name
            raise JobFailedError(TOKENIZER_ERROR, str(error)) from error
        if not self.template:
            raise JobFailedError(TOKENIZER_ERROR, "the tokenizer has no chat template to apply")
        return named

    def template_notes(self, asked: bool | str) -> list[str]:
        """Where a template asked for by name is not what lm_eval 0.4.13 would have written the prompts with."""
        if not isinstance(asked, str):
            return []
        templates = self.tokenizer.chat_template
        if not isinstance(templates, dict):
            return [f"the tokenizer has one chat template, which wrote the prompts; none is called {asked!r}"]
        if templates.get("default") == templates.get(asked):
            return []
        if templates.get(asked) != self.template:
            return [f"the default chat template wrote the prompts, as in lm_eval 0.4.13, not {asked!r}"]
        return [
            f"the chat template called {asked!r} wrote the prompts; lm_eval 0.4.13 would have named it, and"
            " written them with the default one"
        ]

    def _resolve_prefix(self) -> int:
        candidates = (
            self._args.get("prefix_token_id"),
            self.tokenizer.bos_token_id,
            self.tokenizer.eos_token_id,
        )
        for candidate in candidates:
            if candidate is not None:
                return int(candidate)
        raise JobFailedError(
            TOKENIZER_ERROR, "the tokenizer has neither a bos nor an eos token; set prefix_token_id"
        )

    @property
    def eot_token_id(self) -> int | None:
        """The end of a text is the tokenizer's end of sequence."""
        return self.tokenizer.eos_token_id  # type: ignore[no-any-return]

    @property
    def tokenizer_name(self) -> str:
        """Names the tokenizer, as lm-eval does."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def special_tokens(self, text: str, asked: bool | None = None) -> bool | None:
        """Whether special tokens are added to `text`; None leaves it to the tokenizer."""
        if asked is not None:
            return asked
        return False if has_bos_prefix(text, self._prefix_text) else self.add_bos_token

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        """As lm-eval's class does it."""
        if not string and not self.rules.empty_has_tokens:
            return []
        options = encode_options(self.special_tokens(string, add_special_tokens))
        return list(self.tokenizer.encode(string, **options))

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """As lm-eval: a template that knows no system role gets the history without it."""
        try:
            return self._render(chat_history, add_generation_prompt)
        except jinja2.exceptions.TemplateError:
            spoken = [message for message in chat_history if message["role"] != "system"]
            return self._render(spoken, add_generation_prompt)

    def _render(self, history: list[dict[str, str]], add_generation_prompt: bool) -> str:
        return self.tokenizer.apply_chat_template(  # type: ignore[no-any-return]
            history,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            **self.rules.chat_options(),
        )

    def loglikelihood(self, requests: Sequence[Instance]) -> list[Any]:
        """The engines' answers, in order."""
        return self._answers(requests)

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[Any]:
        """The engines' answers, in order."""
        return self._answers(requests)

    def generate_until(self, requests: Sequence[Instance]) -> list[Any]:
        """The engines' answers, in order."""
        return self._answers(requests)

    def _answers(self, requests: Sequence[Instance]) -> list[Any]:
        asked: Counter[int] = Counter()
        answers = []
        for request in requests:
            answers.append(self._answer(request, asked[id(request)]))
            asked[id(request)] += 1
        return answers


def encode_options(special_tokens: bool | None) -> dict[str, bool]:
    """Arguments for the tokenizer; None keeps its own default."""
    return {} if special_tokens is None else {"add_special_tokens": special_tokens}
