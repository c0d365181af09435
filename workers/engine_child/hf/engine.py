"""The hf engine: lm-eval's own HFLM, so that its answers are lm-eval's answers, given chunks.

A chunk of log-likelihoods holds whole batches of the job's global order, so HFLM forms in it the very batches it
would form in the whole list: equal to the last bit.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils.memory import should_reduce_batch_size
from lm_eval.api.instance import Instance
from lm_eval.api.model import CacheHook
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.models.utils_hf import clear_torch_cache
from transformers.utils.quantization_config import QuantizationConfigMixin

from workers.engine_child.contract import ChunkResponses, Engine, OpenChunk, Reports
from workers.engine_child.environment import Environment, versions
from workers.engine_child.hf.batch_size import BatchSizes, Shape, double_until_no_faster
from workers.engine_child.hf.ends import known_ends
from workers.engine_child.hf.fitness import unfit
from workers.engine_child.hf.measuring import measures, peak_bytes
from workers.engine_child.hf.quantized import hflm
from workers.engine_child.hf.sampling import drawn_apart
from workers.engine_child.hf.sharing import TreeScoring
from workers.engine_child.hf.steps import each_step
from workers.engine_child.one_at_a_time import InWork, OneAtATime
from workers.protocol.engine import SCORED_AS_STOCK, EngineRecipe, Load, ScoringMode
from workers.protocol.payload import RequestKind

log = logging.getLogger(__name__)

# What a CPU probe may take for the logits of a batch: HFLM holds them twice, as they come and as log-probabilities.
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "lm_eval", "peft", "bitsandbytes")

PROBE_BYTES = 2 << 30

LAZY = ("AutoModelForCausalLM", "AutoTokenizer", "GenerationMixin", "PreTrainedModel")
"""Names of transformers behind which is what every model needs."""

SHARED_AT_ONCE = 2048
"""Tokens: less at once leaves little to share. They need less memory than a few hundred that are scored as stock, whose
logits are kept for every token."""


class HFModel:
    """HFLM with a batch size that adapts to memory."""

    def __init__(self, lm: Any, max_batch_size: int, environment: str, mode: ScoringMode) -> None:
        self._lm = lm
        self._max_batch_size = max_batch_size
        self._sizes = BatchSizes(self._probe)
        why_stock = unfit(lm) if mode is ScoringMode.FAST else None
        self._sharing = TreeScoring(lm) if mode is ScoringMode.FAST and not why_stock else None
        self.provenance: Mapping[str, Any] = {
            **_provenance(lm),
            "environment": environment,
            "scoring_mode": ScoringMode.FAST if self._sharing else ScoringMode.STOCK,
            **({SCORED_AS_STOCK: why_stock} if why_stock else {}),
        }

    def answer(self, chunk: OpenChunk, work: InWork) -> ChunkResponses:
        """Answer in HFLM's batches; when memory runs out, again in batches of half the size."""
        lengths = self._lengths(chunk)
        shape = self._shape(chunk, max(lengths))
        size = self._sizes.choose(chunk.batch_size, shape, self._least(chunk))
        while (responses := self._attempt(chunk, size, work)) is None:
            clear_torch_cache()
            smaller = self._sizes.halve(shape, size)
            code = "gpu_out_of_memory" if self._lm.device.type == "cuda" else "host_out_of_memory"
            work.again(code, f"batch size {size} -> {smaller}")
            size = smaller
        generated = sum(self._text_lengths(responses)) if chunk.kind is RequestKind.GENERATE else 0
        taken = sum(lengths) + generated
        return ChunkResponses(responses, size, taken, peak_bytes(self._lm), self._cuts(chunk, lengths))

    def recover(self) -> None:
        """Free what the failed chunk held; raises where a GPU error has spoilt the process."""
        clear_torch_cache()
        if self._lm.device.type == "cuda":
            torch.cuda.synchronize()

    def _attempt(self, chunk: OpenChunk, size: int, work: InWork) -> list[Any] | None:
        """The responses, or None where they did not fit in memory and smaller batches may."""
        self._lm.batch_size_per_gpu = size
        self._lm.set_cache_hook(_Counter(work))
        try:
            with each_step(work.generated), known_ends(self._lm):
                return self._run(chunk, size, work)
        except RuntimeError as error:
            if size == 1 or not should_reduce_batch_size(error):
                raise
            return None
        finally:
            self._lm.set_cache_hook(CacheHook(None))

    def _run(self, chunk: OpenChunk, size: int, work: InWork) -> list[Any]:
        if chunk.kind is RequestKind.GENERATE:
            return self._generate(chunk, size)
        if chunk.kind is RequestKind.LOGLIKELIHOOD and self._sharing:
            tokens = size * self._longest(chunk)
            return self._sharing.answers(self._sharing.rows(chunk.requests, tokens), tokens, work.answered)
        # HFLM reports to the hook only what has a name.
        pairs = [(("", ""), context, continuation) for context, continuation in chunk.requests]
        if chunk.kind is not RequestKind.ROLLING:
            return self._score(pairs)
        return [response for i in range(0, len(pairs), size) for response in self._score(pairs[i : i + size])]

    def _score(self, pairs: Sequence[Any]) -> list[Any]:
        return [list(response) for response in self._lm._loglikelihood_tokens(pairs, disable_tqdm=True)]

    def _generate(self, chunk: OpenChunk, size: int) -> list[str]:
        if chunk.draws is None:
            return self._continue(chunk, chunk.requests)
        texts: Sequence[str] = chunk.requests
        responses = [""] * len(texts)
        # In HFLM's order, so that its batches are these, row by row.
        order = sorted(range(len(texts)), key=lambda i: (-len(self._lm.tok_encode(texts[i])), texts[i]))
        size = 1 if self._goes_alone(chunk.gen_kwargs) else size
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            with drawn_apart(chunk.draws.seed, [chunk.draws.requests[row] for row in rows]):
                answers = self._continue(chunk, [texts[row] for row in rows])
            for row, answer in zip(rows, answers, strict=True):
                responses[row] = answer
        return responses

    def _goes_alone(self, gen_kwargs: Mapping[str, Any]) -> bool:
        """Whether a text would end with its batch: HFLM stops beams together, and these lengths count padding."""
        beams = gen_kwargs.get("num_beams", self._lm.model.generation_config.num_beams)
        counts_padding = not gen_kwargs.keys().isdisjoint({"max_length", "min_length"})
        return (beams or 1) > 1 or counts_padding or self._lm.backend == "seq2seq"

    def _continue(self, chunk: OpenChunk, texts: Sequence[str]) -> list[str]:
        instances = [
            Instance(request_type=chunk.kind.value, doc={}, arguments=(text, dict(chunk.gen_kwargs)), idx=i)
            for i, text in enumerate(texts)
        ]
        responses: list[str] = self._lm.generate_until(instances, disable_tqdm=True)
        return responses

    def _cuts(self, chunk: OpenChunk, lengths: Sequence[int]) -> list[int]:
        """Tokens that HFLM leaves out of each prompt; of texts only those are counted anew that may be too long."""
        causal, most = self._lm.backend == "causal", self._lm.max_length
        if chunk.kind is not RequestKind.GENERATE:
            read = [
                length - 1 if causal else len(chunk.requests[place][0])
                for place, length in enumerate(lengths)
            ]
            return [max(0, length - most) for length in read]
        room = most - (self._most_generated(chunk) if causal else 0)
        return [
            max(0, len(self._lm.tok_encode(text)) - room) if length > room else 0
            for text, length in zip(chunk.requests, lengths, strict=True)
        ]

    def _most_generated(self, chunk: OpenChunk) -> int:
        return int(normalize_gen_kwargs(dict(chunk.gen_kwargs), self._lm.max_gen_toks)["max_gen_toks"])

    def _longest(self, chunk: OpenChunk) -> int:
        """Tokens of one that is read whole."""
        return min(max(self._lengths(chunk)), int(self._lm.max_length))

    def _least(self, chunk: OpenChunk) -> int:
        """The smallest batch to begin with: one that requests can share something in."""
        shares = chunk.kind is RequestKind.LOGLIKELIHOOD and self._sharing
        return -(-SHARED_AT_ONCE // self._longest(chunk)) if shares else 1

    def _lengths(self, chunk: OpenChunk) -> list[int]:
        if chunk.kind is RequestKind.GENERATE:
            return self._text_lengths(chunk.requests)
        return [len(context) + len(continuation) for context, continuation in chunk.requests]

    def _text_lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._lm.tokenizer(list(texts))["input_ids"]]

    def _shape(self, chunk: OpenChunk, longest: int) -> Shape:
        generating = chunk.kind is RequestKind.GENERATE
        if generating:
            longest += self._most_generated(chunk)
        return Shape.of(longest, self._lm.max_length, generating=generating)

    def _probe(self, shape: Shape) -> int:
        if self._lm.device.type == "cuda":
            self._lm.max_batch_size = self._max_batch_size
            size = int(self._lm._detect_batch_size([(None, [0] * shape.length, [0])]))
        else:
            vocabulary = self._lm.model.get_output_embeddings().weight.shape[0]
            fitting = PROBE_BYTES // (2 * 4 * vocabulary * shape.length)
            size = double_until_no_faster(
                lambda size: self._seconds(size, shape), min(self._max_batch_size, max(1, fitting))
            )
        log.info("automatic batch size for %s: %d", shape, size)
        return size

    def _seconds(self, size: int, shape: Shape) -> float:
        """The best of three forward passes; a generation's time goes into passes over one token a row."""
        batch = torch.ones((size, 1 if shape.generating else shape.length), dtype=torch.long)
        more = {"attn_mask": batch, "labels": batch} if self._lm.backend == "seq2seq" else {}
        return min(_timed(lambda: self._lm._model_call(batch, **more)) for _ in range(3))


class _Counter:
    """Stands where HFLM expects its response cache: called once for every answered request."""

    def __init__(self, work: InWork) -> None:
        self._work = work

    def add_partial(self, *_: object) -> None:
        """One more request is answered."""
        self._work.answered()


def prepare(_: str | None) -> None:
    """Import what transformers imports when it loads its first model: most of the time of a start."""
    for name in LAZY:
        getattr(transformers, name)


def load(order: Load, reports: Reports) -> Engine:
    """Load the model under lm-eval's argument names, spread over the visible GPUs where there is a block."""
    transformers.utils.logging.disable_progress_bar()
    recipe, device = order.engine, order.device
    args = located(recipe)
    args["parallelize"] = device == "cuda" and (
        bool(args.get("parallelize")) or recipe.tensor_parallel_size * recipe.pipeline_parallel_size > 1
    )
    environment = Environment()
    lm = hflm(recipe.model, args, revision=recipe.revision or "main", device=device, batch_size=1)
    return OneAtATime(
        HFModel(lm, order.max_batch_size, environment.text(), recipe.scoring_mode), reports, measures(lm)
    )


def located(recipe: EngineRecipe) -> dict[str, Any]:
    """The arguments with `gguf_file` as the path it has in the model's folder or repository.

    transformers looks for it in the current folder, which is empty, and does not find the tokenizer of one in a
    subfolder.
    """
    args = dict(recipe.args)
    if not args.get("gguf_file"):
        return args
    below, folder = Path(args.pop("subfolder", None) or "") / args["gguf_file"], Path(recipe.model)
    args["gguf_file"] = str(folder / below if folder.is_dir() else below)
    return args


def _timed(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def _provenance(lm: Any) -> dict[str, Any]:
    config = lm.model.config
    cuda = lm.device.type == "cuda"
    return {
        "versions": versions(PACKAGES),
        "device": str(lm.device),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
        "cuda": torch.version.cuda if cuda else None,
        "placement": _placement(lm.model),
        "threads": torch.get_num_threads(),
        "dtype": str(lm.model.dtype).removeprefix("torch."),
        "softmax_dtype": str(lm.softmax_dtype or lm.model.dtype).removeprefix("torch."),
        "quantization": _quantization(config),
        "attention": getattr(config, "_attn_implementation", None),
        "max_length": lm.max_length,
        "parameters": lm.model.num_parameters(),
        "model_commit": getattr(config, "_commit_hash", None),
    }


def _placement(model: Any) -> dict[str, int] | None:
    """How many of its modules are on each GPU, in the host's memory and on disk; None where it is in one piece."""
    spread = getattr(model, "hf_device_map", None) or {}
    return dict(Counter(map(str, spread.values()))) if len(set(spread.values())) > 1 else None


def _quantization(config: Any) -> Any:
    """The settings the weights were quantized with, or "none"."""
    found: Any = getattr(config, "quantization_config", None)
    return found.to_dict() if isinstance(found, QuantizationConfigMixin) else found or "none"
