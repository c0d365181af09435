from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from, text

from app.domain.keys import new_token
from app.domain.redaction import redact, redacted, secrets_in

HF_TOKEN = "hf_" + "a1B2c3D4e5" * 4


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"model_args": {"token": "anything"}}, "model_args.token"),
        ({"model_args": {"hf_token": "anything"}}, "model_args.hf_token"),
        ({"model_args": {"use_auth_token": "anything"}}, "model_args.use_auth_token"),
        ({"model_args": {"OPENAI_API_KEY": "anything"}}, "model_args.OPENAI_API_KEY"),
        ({"model_args": {"a": {"db_password": "anything"}}}, "model_args.a.db_password"),
        ({"metadata": {"note": f"use {HF_TOKEN}"}}, "metadata.note"),
        ({"tags": ["nightly", new_token()]}, "tags.1"),
        ({"model_args": {"url": "https://me:pass@example.org/x"}}, "model_args.url"),
        ({"model_args": {"aws_secret_access_key": "anything"}}, "model_args.aws_secret_access_key"),
        ({"metadata": {"note": "AKIA" + "ABCD" * 4}}, "metadata.note"),
        ({"metadata": {"note": "ghp_" + "a1B2" * 9}}, "metadata.note"),
        ({"model_args": {HF_TOKEN: "x"}}, "model_args.hf_***"),
        ({"metadata": {"a": [{"AKIA" + "ABCD" * 4: {}}]}}, "metadata.a.0.AKIA***"),
        ({"env": {"X_" + HF_TOKEN: "1"}}, "env.X_hf_***"),
        ({"model_args": {"password": 1234}}, "model_args.password"),
        ({"model_args": {"api_key": ["a", "b"]}}, "model_args.api_key"),
    ],
)
def test_a_secret_is_found_where_it_is(document: dict[str, Any], path: str) -> None:
    assert list(secrets_in(document, "")) == [path]


@pytest.mark.parametrize(
    "document",
    [
        {"add_bos_token": True, "prefix_token_id": 1, "eos_token": "</s>", "token": None, "token_count": "3"},
        {"use_auth_token": True},
        {"system_instruction": "Write TOKEN=1 and sk-learn-is-a-fine-library, then hf_hub"},
        {"pretrained": "https://example.org/a@b"},
    ],
)
def test_what_is_no_secret_is_left_alone(document: dict[str, Any]) -> None:
    assert list(secrets_in(document, "")) == []


def test_a_text_loses_its_secrets() -> None:
    text = f"{HF_TOKEN} {new_token()} postgresql://evalq:pass@db/evalq HF_TOKEN=x"
    assert redact(text) == "hf_*** evq_*** postgresql://evalq:***@db/evalq HF_TOKEN=***"


def test_a_document_loses_its_secrets_at_any_depth() -> None:
    assert redacted({"a": [HF_TOKEN, 1, {"b": HF_TOKEN}], "c": None}) == {
        "a": ["hf_***", 1, {"b": "hf_***"}],
        "c": None,
    }


SECRETS = {
    HF_TOKEN: "a token of the hub",
    "evq_" + "aB-_" * 10 + "abc": "a key of evalq",
    "AKIA" + "ABCD" * 4: "an id of an AWS key",
    "ghp_" + "a1B2" * 9: "a token of GitHub",
    "eyJhbGciOiJI." + "eyJzdWIiOiIx" + ".SflKxwRJSM": "a JWT",
}
PLACES = (
    "{}",
    "401 for https://huggingface.co/x?token={}&a=1",
    "Authorization: Bearer {}",
    "{{'Authorization': 'Bearer {}'}}",
    "HF_TOKEN={}",
    'json.loads(\'{{"api_key": "{}"}}\')',
    "postgresql://evalq:{}@db:5432/evalq",
    "redis://:{}@127.0.0.1:6379/0",
    "  File x.py, line 3: get({!r})",
)


@pytest.mark.parametrize("secret", SECRETS, ids=SECRETS.values())
@pytest.mark.parametrize("place", PLACES)
def test_a_known_secret_is_taken_out_wherever_it_stands(place: str, secret: str) -> None:
    assert secret not in redact(place.format(secret))


@pytest.mark.parametrize(
    "place",
    [
        "HF_TOKEN={}",
        "export WANDB_API_KEY='{}'",
        "aws_secret_access_key = {}",
        '{{"password": "{}"}}',
        "hf_token={}, pretrained=x",
        "x-api-key: {}",
        "https://bucket.s3/x?X-Amz-Signature={}&X-Amz-Date=1",
        "postgresql://evalq:{}@db/evalq",
        "postgresql://evalq:p@{}@db/evalq",
        "Authorization: Basic {}",
    ],
)
def test_a_secret_without_a_shape_is_known_by_its_place(place: str) -> None:
    assert "dGhpc0lzU2VjcmV0" not in redact(place.format("dGhpc0lzU2VjcmV0"))


@given(before=text(max_size=20), after=text(max_size=20), secret=sampled_from(list(SECRETS)[:2]))
def test_no_surroundings_hide_a_token_of_ours_or_of_the_hub(before: str, after: str, secret: str) -> None:
    assert secret not in redact(before + secret + after)


@pytest.mark.parametrize(
    "text",
    [
        "pad_token: 0",
        "use_auth_token=True",
        "eos_token='</s>'",
        "hf_token=None",
        "secretary=5",
        "a tokenizer: x",
    ],
)
def test_ordinary_lines_stay_readable(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "unit",
    [
        "x",
        "A",
        "TOKEN",
        "PASSWORD ",
        "a://",
        "a://b:",
        "eyJaaaaaaaa-",
        "Bearer ",
        "api_key_\n",
        "?key",
        "evq_",
        "\\'",
    ],
)
def test_a_long_text_takes_no_longer_than_it_is_long(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    start = time.perf_counter()
    redact(text)
    list(secrets_in({text: text}, ""))
    assert time.perf_counter() - start < 3
