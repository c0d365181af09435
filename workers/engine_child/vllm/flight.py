"""vLLM's engine as the window uses it, stepped by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vllm import SamplingParams, TokensPrompt
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError

from workers.engine_child.vllm.window import VLLMOutput


class LLMFlight:
    """Requests in flight on `LLM.llm_engine`."""

    def __init__(self, engine: Any, lora: LoRARequest | None) -> None:
        self._engine = engine
        self._lora = lora
        self._arrived = getattr(engine.engine_core, "outputs_queue", None)
        """None where the engine's core runs in this process: there a step is the work itself."""
        self._own_names: dict[str, str] = {}

    def add(self, name: str, tokens: Sequence[int], params: Mapping[str, Any]) -> Exception | None:
        """Begin to answer; why not, where this request cannot be."""
        prompt = TokensPrompt(prompt_token_ids=list(tokens))
        wanted = SamplingParams(**params, output_kind=RequestOutputKind.FINAL_ONLY)
        try:
            self._own_names[name] = self._engine.add_request(name, prompt, wanted, lora_request=self._lora)
        except EngineDeadError:
            raise
        except Exception as error:  # noqa: BLE001 - too long, or a token that it does not know: harms no other
            return error
        return None

    def ready(self, seconds: float) -> bool:
        """Whether the engine's core has something to tell, within this time: a long prompt may take it minutes."""
        if self._arrived is None:
            return True
        with self._arrived.not_empty:
            return bool(self._arrived.not_empty.wait_for(lambda: len(self._arrived.queue) > 0, seconds))

    def step(self) -> Iterable[VLLMOutput]:
        """What the engine's core told next; waits for it."""
        outputs: list[VLLMOutput] = self._engine.step()
        for output in outputs:
            if output.finished:
                self._own_names.pop(output.request_id, None)
        return outputs

    def abort(self, names: Sequence[str]) -> None:
        """Forget these requests, as soon as the step in work is done."""
        self._engine.abort_request(list(names), internal=False)
        for name in names:
            self._own_names.pop(name, None)

    def generated(self, name: str) -> int:
        """Tokens that were generated for a request in flight."""
        state = self._engine.output_processor.request_states.get(self._own_names.get(name))
        return state.detokenizer.num_output_tokens() if state and state.detokenizer else 0
