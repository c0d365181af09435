from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import datasets
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from .coordinator import Ordered

MAX_LENGTH = 128
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="session", autouse=True)
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield


def _corpus() -> list[str]:
    text = [" ".join(doc["question"] for doc in documents(60)), "Question: Answer: What is plus ?"]
    return text * 3


def documents(count: int, start: int = 1) -> list[dict[str, Any]]:
    """Sums with three choices and a little prose, all different."""
    return [
        {
            "question": f"What is {n} plus {n * 7 % 13}?",
            "choices": [str(n), str(n + n * 7 % 13), f"{n} and more"],
            "answer": 1,
            "sum": str(n + n * 7 % 13),
            "text": " ".join(f"word{(n * k) % 29}" for k in range(5 + n * 11 % 80)),
        }
        for n in range(start, start + count)
    ]


def make_model(folder: Path, *, adds_bos: bool) -> Path:
    """A tokenizer and a configuration, no weights."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    config = {"model_type": "llama", "max_position_embeddings": MAX_LENGTH, "vocab_size": 400}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), adds_bos=False)


@pytest.fixture(scope="session")
def bos_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("bos-model"), adds_bos=True)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder with a task of every kind, a group, a tag, and their data."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    write_data(folder / "train.jsonl", documents(20, start=100))
    write_data(folder / "test.jsonl", documents(12))
    for name, yaml in TASKS.items():
        (folder / f"{name}.yaml").write_text(yaml.replace("FOLDER", str(folder)))
    (folder / "code.py").write_text(CODE)
    return folder


def write_data(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def order(model: Path, tasks: Path) -> Callable[..., Ordered]:
    """Makes orders for the model over the task folder."""

    def order(*names: str, engine_args: dict[str, Any] | None = None, **spec: Any) -> Ordered:
        return Ordered(model=model, folder=tasks, names=names, engine_args=engine_args or {}, spec=spec)

    return order


_DATA = """
dataset_path: json
dataset_kwargs:
  data_files:
    train: FOLDER/train.jsonl
    test: FOLDER/test.jsonl
training_split: train
test_split: test
"""

_CHOICE = (
    _DATA
    + """
output_type: multiple_choice
fewshot_split: train
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: answer
doc_to_choice: choices
num_fewshot: 2
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""
)

_GENERATION = (
    _DATA
    + """
output_type: generate_until
fewshot_split: train
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: sum
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
generation_kwargs:
  until: ["\\n"]
  do_sample: false
  temperature: 0.0
  max_gen_toks: 16
"""
)

TASKS = {
    "sums": "task: sums\ntag: arithmetic\n" + _CHOICE,
    "more_sums": "task: more_sums\ntag: arithmetic\n" + _CHOICE.replace("num_fewshot: 2", "num_fewshot: 0"),
    "mutual": "task: mutual\n" + _CHOICE.replace("acc_norm", "acc_mutual_info"),
    "generated": "task: generated\n"
    + _GENERATION
    + """
repeats: 2
filter_list:
  - name: first
    filter:
      - function: regex
        regex_pattern: "(\\\\d+)"
      - function: take_first
  - name: vote
    filter:
      - function: regex
        regex_pattern: "(\\\\d)"
      - function: majority_vote
      - function: take_first
""",
    "searched": "task: searched\n"
    + _GENERATION
    + """
filter_list:
  - name: plain
    filter:
      - function: remove_whitespace
      - function: take_first
  - name: strict
    filter:
      - function: regex
        regex_pattern: "about (1\\\\d),"
      - function: uppercase
      - function: take_first
  - name: mapped
    filter:
      - function: regex
        regex_pattern: "or ([0-6])"
      - function: map
        mapping_dict: {"1": "one", "2": "two"}
        default_value: "none of them"
      - function: take_first
  - name: voted
    filter:
      - function: regex
        regex_pattern: "nothing"
        fallback: "?"
      - function: majority_vote
""",
    "sampled": "task: sampled\n"
    + _GENERATION.replace("do_sample: false", "do_sample: true").replace(
        "temperature: 0.0", "temperature: 0.7"
    ),
    "greedy": "task: greedy\n"
    + _DATA
    + 'output_type: loglikelihood\ndoc_to_text: "{{question}}"\ndoc_to_target: " {{sum}}"\n'
    + "metric_list:\n  - metric: perplexity\n  - metric: acc\n",
    "prose": "task: prose\n"
    + _DATA
    + 'output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{text}}"\n'
    + "metric_list:\n  - metric: word_perplexity\n  - metric: byte_perplexity\n  - metric: bits_per_byte\n",
    "lottery": "task: lottery\n" + _GENERATION + "process_results: !function code.lottery\n",
    "raffle": "task: raffle\n" + _GENERATION + "process_results: !function code.lottery\n",
    "slips": "task: slips\n"
    + _GENERATION.replace("exact_match", "slip").replace("better: true", "better: false")
    + "process_results: !function code.slips\n",
    "broken_metric": "task: broken_metric\n" + _GENERATION + "process_results: !function code.broken\n",
    "broken_template": "task: broken_template\n" + _CHOICE.replace("{{question}}", "{{nothing_like_it}}"),
    "no_data": "task: no_data\n" + _CHOICE.replace("test.jsonl", "absent.jsonl"),
    "empty_data": "task: empty_data\n" + _CHOICE.replace("test.jsonl", "empty.jsonl"),
    "unsafe": "task: unsafe\nunsafe_code: true\n" + _GENERATION + "process_results: !function code.run\n",
    "all_sums": """
group: all_sums
task:
  - sums
  - more_sums
aggregate_metric_list:
  - metric: acc
    weight_by_size: true
metadata:
  version: 2
""",
    "everything": """
group: everything
task:
  - all_sums
  - group: inner
    task:
      - task: sums_inline
        include: FOLDER/sums.yaml
  - generated
""".replace(
        """  - group: inner
    task:
      - task: sums_inline
        include: FOLDER/sums.yaml
""",
        "",
    ),
    "in_vain": """
group: in_vain
task:
  - sums
  - more_sums
aggregate_metric_list:
  - metric: acc
  - metric: acc
    filter_list: [strict]
  - metric: exact_match
""",
    "strangers": """
group: strangers
task:
  - sums
  - nobody
""",
    "half_broken": """
group: half_broken
task:
  - more_sums
  - no_data
aggregate_metric_list:
  - metric: acc
    weight_by_size: true
""",
}

CODE = """
import os
import random


def lottery(doc, results):
    return {"exact_match": random.random()}


def slips(doc, results):
    return {"words": len(doc["text"]) % 3, "slip": float(len(doc["sum"]) == 2)}


def run(doc, results):
    return {"exact_match": float(os.environ["HF_ALLOW_CODE_EVAL"])}


def broken(doc, results):
    raise ZeroDivisionError("the metric divides by zero")
"""
