"""What lm-eval's class for vLLM makes of prompts, and vLLM of a model's length, each in its own environment."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.tiny_models import vllm_python
from workers.engine_child.vllm.generating import Writer
from workers.engine_child.vllm.scoring import cut_left
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.cutting import Prompt
from workers.harness_child.lm_eval.tokens import encode, encode_pairs, rolling_windows
from workers.protocol.engine import EngineRecipe
from workers.protocol.harness import PromptShapes

from .test_vllm_length import CONFIGS, args_of

SCRIPT = Path(__file__).with_name("vllm_class.py")
QUIET = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
LENGTH = 24

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("model", {}),
    "adds bos": ("bos_model", {}),
    "told to add bos": ("bos_model", {"add_bos_token": True}),
    "told not to": ("bos_model", {"add_bos_token": False}),
    "asked for bos": ("model", {"add_bos_token": True}),
    "another prefix": ("model", {"prefix_token_id": 7}),
    "short": ("model", {"max_model_len": LENGTH}),
    "short by its other name": ("bos_model", {"max_length": LENGTH}),
    "cut on the right": ("model", {"max_model_len": LENGTH, "truncation_side": "right", "max_gen_toks": 10}),
    "cut in the middle": ("bos_model", {"max_model_len": LENGTH, "truncation_side": "middle"}),
    "thinking": ("model", {"enable_thinking": True, "think_end_token": "</s>"}),
    "not thinking": ("model", {"enable_thinking": False}),
    "thinking where it is lost": (
        "model",
        {"chat_template_args": {"enable_thinking": True, "mood": "good"}, "enable_thinking": None},
    ),
}

WORDS = ["What", "is", "3", "plus", "12?", "Question:", "<s>", "</s>", "a", "", "b\n", "é", "\u3000", "word7"]
SETTINGS: list[dict[str, Any]] = [
    {"until": ["\n"]},
    {"until": "\n\n", "max_gen_toks": 5},
    {"do_sample": False},
    {"do_sample": False, "temperature": 0.7, "top_p": 0.5},
    {"do_sample": True},
    {"do_sample": True, "temperature": 0},
    {"do_sample": True, "temperature": 0.7, "top_k": 5},
    {"temperature": 0.7},
    {"temperature": 0.0, "top_p": 0.9},
    {"temperature": 0.001},
    {"do_sample": None, "temperature": 0.5, "max_new_tokens": 3},
    {"max_tokens": 2, "max_gen_toks": 4, "until": []},
]
CHATS = [
    ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 plus 2?"}], True),
    ([{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "The"}], False),
    ([{"role": "user", "content": "no system"}], True),
]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    "{% if enable_thinking is defined %}[{{ enable_thinking }}]{% endif %}{{ mood }}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def texts() -> list[str]:
    drawn = random.Random(7)
    some = [" ".join(drawn.choice(WORDS) for _ in range(drawn.randrange(1, 40))) for _ in range(12)]
    return ["", " ", "\n", "<s>", "<s>What is", "a", *some]


def pairs() -> list[tuple[str, str]]:
    drawn, some = random.Random(11), texts()
    made = [(drawn.choice(some), f" {drawn.choice(some)[:30]}") for _ in range(14)]
    odd = [
        ("", "a"),
        ("", "<s>a"),
        ("", "<s>"),
        ("  ", "a"),
        ("a ", " b"),
        ("a", ""),
        ("Wha", "t"),
        ("<s>", "x"),
    ]
    return made + odd


def prompts() -> list[tuple[str, dict[str, Any]]]:
    drawn, some = random.Random(13), texts()
    return [("", SETTINGS[0]), *((drawn.choice(some), dict(settings)) for settings in SETTINGS * 2)]


@pytest.fixture(scope="module")
def folders(model: Path, bos_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, folder in (("model", model), ("bos_model", bos_model)):
        made[name] = Path(shutil.copytree(folder, tmp_path_factory.mktemp("for-vllm") / name))
        config = json.loads((folder / "config.json").read_text())
        sizes = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1}
        own = config | sizes | {"architectures": ["LlamaForCausalLM"], "torch_dtype": "float32"}
        (made[name] / "config.json").write_text(json.dumps(own))
        (made[name] / "chat_template.jinja").write_text(TEMPLATE)
    return made


@pytest.fixture(scope="module")
def lengths(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    root = tmp_path_factory.mktemp("configs")
    for name, (config, _) in CONFIGS.items():
        own = {key: value for key, value in config.items() if key not in args_of(config)}
        (root / name).mkdir()
        (root / name / "config.json").write_text(json.dumps(own))
    return [{"model": str(root / name), **args_of(config)} for name, (config, _) in CONFIGS.items()]


@pytest.fixture(scope="module")
def told(folders: dict[str, Path], lengths: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything, of one process."""
    given = {"texts": texts(), "pairs": pairs(), "prompts": prompts(), "chats": CHATS}
    classes = [{"model": str(folders[model]), "args": args, **given} for model, args in CASES.values()]
    done = subprocess.run(
        [str(vllm_python(Settings().cache_dir)), str(SCRIPT)],
        input=json.dumps({"lengths": lengths, "classes": classes}),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | QUIET,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_vllm_finds_the_same_length_of_every_model(told: dict[str, Any]) -> None:
    found = dict(zip(CONFIGS, told["lengths"], strict=True))
    assert found == {name: expected for name, (_, expected) in CONFIGS.items()}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest, folders: dict[str, Path], told: dict[str, Any]) -> Any:
    """Our model, and what lm-eval's made of the same."""
    model, args = CASES[request.param]
    recipe = EngineRecipe("vllm", str(folders[model]), args=args)
    lm = BrokerLM(recipe, lambda instance, repeat: None, shapes=PromptShapes.VLLM)
    return lm, told["classes"][list(CASES).index(request.param)]


def test_texts_and_the_model_are_read_as_lm_eval_reads_them(case: Any) -> None:
    lm, theirs = case
    encoded = encode(lm, texts())
    assert [encoded[text].tolist() for text in texts()] == theirs["texts"]
    assert [lm.tok_encode(text) for text in texts()] == theirs["texts"]
    together = encode(lm, texts(), together=True)
    assert [together[text].tolist() for text in texts()] == theirs["together"]
    assert (lm.max_length, lm.prefix_token_id) == (theirs["max_length"], theirs["prefix"])


def test_pairs_reach_vllm_as_lm_eval_sends_them_or_fail_where_it_ends(case: Any) -> None:
    lm, theirs = case
    ours = [_sent(lm, pair) for pair in encode_pairs(lm, pairs())]
    expected = [_scored(*answer) if answer else None for answer in theirs["pairs"]]
    assert ours == expected
    assert bool(theirs["refuses"]) == bool(lm.rules.engine.args.get("enable_thinking"))


def _sent(lm: BrokerLM, pair: Any) -> Any:
    if lm.rules.fault_of_pair(pair):
        return None
    tokens, start = cut_left(pair.context.tolist(), pair.continuation.tolist(), lm.max_length)
    return tokens, start


def _scored(tokens: Sequence[int], start: int) -> Any:
    """None where lm-eval would look up no row, or those of other tokens."""
    return (tokens, start) if tokens and start > 0 else None


def test_rolling_windows_are_lm_evals(case: Any) -> None:
    lm, theirs = case
    encoded = encode(lm, texts())
    ours = [
        [[part.tolist() for part in window] for window in rolling_windows(lm, encoded[text])]
        for text in texts()
    ]
    assert ours == theirs["rolling"]


def test_conversations_are_written_as_lm_eval_writes_them(case: Any) -> None:
    lm, theirs = case
    lm.choose_template(True)
    assert [lm.apply_chat_template(chat, more) for chat, more in CHATS] == theirs["chats"]


def test_prompts_are_cut_and_drawn_as_lm_eval_says(case: Any) -> None:
    """But for settings that say nothing: greedy, as lm-eval means them to be."""
    lm, theirs = case
    args = lm.rules.engine.args
    writer = Writer(lm.max_length, lm.rules.max_gen_toks, "</s>", args.get("truncation_side", "left"))
    encoded = encode(lm, [text for text, _ in prompts()], together=True)
    for (text, settings), (tokens, params) in zip(prompts(), theirs["prompts"], strict=True):
        ours, _ = writer.settings(settings)
        assert writer.prompt(encoded[text], ours) == tokens
        assert ours["max_tokens"] == params["max_tokens"]
        default = lm.rules.greedy_by_default(settings)
        expected = 0.0 if default else params["temperature"]
        assert max(ours.get("temperature", 1.0), 0.01 * bool(ours.get("temperature"))) == expected
        assert lm.rules.is_sampled(settings) == (expected > 0)
        assert default == (
            params["temperature"] > 0 and not settings.get("do_sample") and not settings.get("temperature")
        )


def test_a_prompt_that_vllm_refuses_fails_alone(folders: dict[str, Path]) -> None:
    recipe = EngineRecipe("vllm", str(folders["model"]), args={"max_model_len": LENGTH})
    lm = BrokerLM(recipe, lambda instance, repeat: None, shapes=PromptShapes.VLLM)
    long = list(range(40))
    for most, tokens, fault in (
        (4, long, None),
        (LENGTH, long, "a prompt of 40 tokens leaves no room"),
        (LENGTH + 20, long, None),
        (4, [], "the prompt has no tokens"),
        (LENGTH + 40, long, "the prompt has no tokens"),
    ):
        said = lm.rules.fault_of_prompt(Prompt("", len(tokens), {"max_gen_toks": most}, 1.0, tokens))
        assert (said or "").startswith(fault or "")
        assert bool(said) == bool(fault)
