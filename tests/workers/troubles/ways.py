"""Ways in which a task can be broken, by the stage at which it shows, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path
from typing import Any

import yaml

DATASET = "dataset_error"
TASK = "task_error"


class Function(str):
    """A function of the task's own code."""


class Raw(str):
    """YAML as it is."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))
_Dumper.add_representer(
    Raw, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
)


@dataclass(frozen=True)
class Way:
    """Changes to a sound task, and its end; `code` is the body of its module, where `f` is the function it names."""

    change: Mapping[str, Any]
    code: str = ""
    ends: str = TASK
    """The code of its failure, or the status of a task that is scored."""
    says: str = ""
    base: str = "generate"
    group: Mapping[str, Any] = field(default_factory=dict)
    """A group around it, posted in its place."""


F = Function("f")
GENERATE: Mapping[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{sum}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
SCORE: Mapping[str, Any] = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{question}}",
    "doc_to_target": " {{sum}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
CHOOSE: Mapping[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "fewshot_split": "train",
    "num_fewshot": 1,
}
BASES = {"generate": GENERATE, "score": SCORE, "choose": CHOOSE}

SUCCEEDED = "succeeded"
PARTLY = "partially_failed"
MUTE = "class Mute:\n    def __str__(self): raise RuntimeError('no words')\n    __repr__ = __str__\n"


def giving(value: str, ends: str = TASK, says: str = "", more: str = "") -> Way:
    """A metric of each document."""
    listed = [{"metric": "one", "aggregation": "mean", "higher_is_better": True}]
    code = f"{more}\ndef f(doc, results): return {value}\n"
    return Way({"process_results": F, "metric_list": listed}, code, ends, says)


def adding(up: str, ends: str = TASK, says: str = "", more: str = "") -> Way:
    """An aggregation."""
    listed = [{"metric": "exact_match", "aggregation": F, "higher_is_better": True}]
    return Way({"metric_list": listed}, f"{more}\ndef f(items): {up}\n", ends, says)


def filtering(body: str, says: str = "", ends: str = TASK) -> Way:
    """A filter of the task's own."""
    listed = [{"name": "own", "filter": [{"function": "custom", "filter_fn": F}]}]
    return Way({"filter_list": listed}, f"def f(resps, docs):\n    {body}\n", ends, says)


def settings(*, says: str, **kwargs: Any) -> Way:
    """Settings for generation."""
    return Way({"generation_kwargs": {"until": ["\n"], **kwargs}}, "import math\n", TASK, says)


WAYS: Mapping[str, Mapping[str, Way]] = {
    "building": {
        "raises": Way({"process_docs": F}, "def f(docs): raise OSError('gone')", TASK, "OSError: gone"),
        "exits": Way({"process_docs": F}, "import sys\ndef f(docs): sys.exit(3)", TASK, "SystemExit: 3"),
        "leaves": Way({"process_docs": F}, "import os\ndef f(docs): os._exit(7)", TASK, "exit status 7"),
        "exits_on_import": Way({"process_docs": F}, "raise KeyboardInterrupt\ndef f(docs): pass"),
        "recurses": Way({"process_docs": F}, "def f(docs): return f(docs)", TASK, "RecursionError"),
        "nameless": Way({"process_docs": Function("nobody")}, "", TASK, "nobody"),
        "unsplit": Way({"test_split": "held_out"}, "", DATASET, "no split 'held_out'; it has: test, train"),
        "odd_split": Way({"test_split": 5}, "", DATASET, "no split 5; it has: test, train"),
        "emptied": Way(
            {"process_docs": F},
            "def f(docs): return docs.select([])",
            DATASET,
            "process_docs left none of 12",
        ),
        "listed": Way(
            {"process_docs": F}, "def f(docs): return list(docs)", DATASET, "process_docs gave a list"
        ),
        "nothing": Way({"process_docs": F}, "def f(docs): return None", DATASET, "process_docs gave nothing"),
        "odd_name": Way(
            {"class": F},
            "from lm_eval.api.task import ConfigurableTask\n"
            "class f(ConfigurableTask):\n"
            "    task_name = 'a\\0' + 'b' * 1000\n"
            "    def __init__(self, config): super().__init__(config={\n"
            "        name: value for name, value in config.items() if name != 'class'})",
            TASK,
            "its name must be short text",
        ),
        "no_class": Way(
            {"class": F}, "class f:\n    def __init__(self, config=None): pass", TASK, "makes a f"
        ),
    },
    "few-shot": {
        "no_split": Way({"fewshot_split": "dev"}, "", DATASET, "no split 'dev'", "choose"),
        "no_sampler": Way(
            {"fewshot_config": {"sampler": "nobody", "split": "train"}}, "", TASK, "nobody", "choose"
        ),
        "raises": Way(
            {"doc_to_text": F, "fewshot_split": "train", "num_fewshot": 2},
            "def f(doc): return 'q' + 1 // (int(doc['sum']) < 100) * 'x'",
            TASK,
            "document 0, doc_to_text",
        ),
        "odd_number": Way({"num_fewshot": "two", "fewshot_split": "train"}, "", TASK, "document 0"),
    },
    "tokenising": {
        "number": Way(
            {"doc_to_target": F},
            "def f(doc): return 4",
            TASK,
            "document 0: the continuation (doc_to_target or doc_to_choice) is 4 (int), not text",
            "score",
        ),
        "half_pair": Way({"doc_to_text": F}, "def f(doc): return 'a\\ud83d'", TASK, "half a surrogate pair"),
        "list": Way({"doc_to_text": F}, "def f(doc): return ['a']", TASK, "document 0"),
        "nothing": Way({"doc_to_text": F}, "def f(doc): return None", TASK, "document 0", "score"),
        "nul": Way({"doc_to_text": F}, "def f(doc): return doc['question'] + '\\0'", SUCCEEDED),
    },
    "cutting": {
        "infinite": settings(max_gen_toks=inf, says="plain values: 'max_gen_toks'"),
        "not_a_number": settings(temperature=nan, says="plain values: 'temperature'"),
        "beyond_64_bits": settings(max_gen_toks=2**70, says="plain values: 'max_gen_toks'"),
        "nul": settings(until=[Raw("\x00")], says="plain values: 'until'"),
        "list": Way({"generation_kwargs": ["until"]}, ""),
        "no_times": Way({"repeats": 0}, "", TASK, "repeats must be a whole number from 1"),
        "many_times": Way({"repeats": 10**12}, "", TASK, "at most"),
    },
    "answering": {
        "refused": Way(
            {"doc_to_text": "Refuse {{question}}"}, "", "engine_died", "no answer for document 0, 1"
        ),
        "partly_refused": Way(
            {"doc_to_text": "{% if 'is 3 ' in question %}Refuse{% endif %} {{question}}"},
            "",
            PARTLY,
            "no answer for document 2 (1 of 4)",
        ),
        "no_tokens": Way({"doc_to_target": F}, "def f(doc): return ''", TASK, "has no tokens", "score"),
    },
    "filters": {
        "raises": filtering("raise ValueError('no')", "ValueError: no (filter own)"),
        "exits": filtering("raise SystemExit", "SystemExit (filter own)"),
        "nothing": filtering("return None"),
        "fewer": filtering("return resps[:1]"),
        "crashes": filtering("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    },
    "metrics": {
        "raises": giving(
            "{'one': 1 // 0}", says="ZeroDivisionError: integer division or modulo by zero (document 0"
        ),
        "nothing": giving("None", says="document 0"),
        "number": giving("7"),
        "nan": giving("{'one': float('nan')}", SUCCEEDED),
        "infinity": giving("{'one': float('-inf')}", SUCCEEDED),
        "beyond_64_bits": giving("{'one': 2 ** 70}", SUCCEEDED),
        "text": giving("{'one': 'a\\0\\ud800'}"),
        "killed": giving("os.kill(os.getpid(), 9)", says="SIGKILL", more="import os"),
        "mute": giving("{'one': Mute()}", more=MUTE),
        "forks": giving(
            "{'one': (' 1 ' in doc['question'] and os.fork()) * 0 + 1}", SUCCEEDED, more="import os"
        ),
        "leaves_the_coordinator": giving("os.closerange(3, 99)", says="exit status 1", more="import os"),
    },
    "aggregation": {
        "raises": adding("raise KeyError('x')", says="KeyError: 'x' (aggregation of exact_match)"),
        "exits": adding("raise SystemExit", says="SystemExit (aggregation of exact_match)"),
        "nested_nan": adding("return {'mean': float('nan'), 'n': [6, float('inf')]}", SUCCEEDED),
        "numpy": adding(
            "return {'a': np.float32(1), 'b': {np.int64(2)}}", SUCCEEDED, more="import numpy as np"
        ),
        "text": adding("return 'a\\0\\ud800'", SUCCEEDED),
        "mute": adding("return Mute()", says="its metrics cannot be written", more=MUTE),
        "keys": adding("return {(1, 2): 3}", says="its metrics cannot be written"),
        "deep": adding("a = []; [a := [a] for _ in range(500)]; return a", says="deep"),
        "digits": adding("return 10 ** 5000", says="its metrics cannot be written"),
    },
    "groups": {
        "of_objects": Way(
            {"metric_list": [{"metric": "exact_match", "aggregation": F, "higher_is_better": True}]},
            "def f(items): return {'mean': 1}",
            SUCCEEDED,
            group={"aggregate_metric_list": [{"metric": "exact_match"}]},
        ),
        "in_itself": Way({}, "", TASK, "recursion", group={"task": ["@"]}),
        "with_odd_metadata": Way({}, "", SUCCEEDED, group={"metadata": ["x"]}),
    },
    "samples": {
        "cycle": giving("doc.update(self=doc) or {'one': 1}", says="document 0"),
        "deep": giving(
            "{'one': 1, 'deep': f.deep}",
            more=("def deep():\n    a = []\n    for _ in range(300): a = [a]\n    return a\n"),
        ),
        "named_like_lm_evals": giving("{'metrics': 1.0}", says=""),
        "mute_target": Way({"doc_to_target": F}, f"{MUTE}\ndef f(doc): return Mute()"),
    },
    "events": {
        "nul": giving("1 // 0", says="", more="def x(): pass"),
        "half_pair": Way({"process_results": F}, "def f(doc, results): raise ValueError('a\\0\\ud800')"),
        "huge": Way({"process_results": F}, "def f(doc, results): raise ValueError('x' * 10**7)"),
        "mute": Way(
            {"process_results": F},
            "class Mute(Exception):\n    def __str__(self): raise self\ndef f(doc, results): raise Mute()",
            TASK,
            "Mute",
        ),
    },
    "files": {
        "mixed_names": Way({"metadata": {"version": 1, 2: 3, "x": nan}}, "", SUCCEEDED),
        "odd_version": Way({"metadata": {"version": {"a": nan}}}, "", SUCCEEDED),
        "odd_alias": Way({"task_alias": Raw("a\x00b/../c")}, "", SUCCEEDED),
    },
}


UNREADABLE: Mapping[str, str] = {
    "not_yaml.yaml": "task: [",
    "nul.yaml": 'task: "a\\0b"\n',
    "many_digits.yaml": f"task: digits\nnum_fewshot: {'9' * 5000}\n",
    "ring.yaml": "include: ring.yaml\ntask: ring\n",
    "odd_tags.yaml": "task: odd_tags\ntag: [5, null, {a: b}]\n",
    "odd_group.yaml": "group: odd_group\ntask: [5, null, [a], {task: [1]}, {group: {a: b}}]\n",
}
"""Files beside the tasks that are no tasks: they keep no other from being found."""


def write(folder: Path, name: str, way: Way) -> None:
    """Make the task, and a group around it where it has one."""
    (folder / f"{name}_code.py").write_text(way.code)
    config = _sound(folder, name, way.base) | _named(way.change, f"{name}_code")
    _dump(folder / f"{name}.yaml", config)
    if way.group:
        group = {"group": f"{name}_group", "task": [name], **way.group}
        group["task"] = [f"{name}_group" if member == "@" else member for member in group["task"]]
        _dump(folder / f"{name}_group.yaml", group)


def sound(folder: Path, name: str, base: str) -> None:
    """Make a task that is not broken."""
    _dump(folder / f"{name}.yaml", _sound(folder, name, base))


def _sound(folder: Path, name: str, base: str) -> dict[str, Any]:
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
    return {
        "task": name,
        **BASES[base],
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "training_split": "train",
        "test_split": "test",
    }


def _dump(path: Path, config: Mapping[str, Any]) -> None:
    path.write_text(yaml.dump(dict(config), Dumper=_Dumper, allow_unicode=False))


def _named(value: Any, module: str) -> Any:
    """With the module in front of every function."""
    match value:
        case Function():
            return Function(f"{module}.{value}")
        case Mapping():
            return {key: _named(item, module) for key, item in value.items()}
        case list():
            return [_named(item, module) for item in value]
        case _:
            return value
