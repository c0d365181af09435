from __future__ import annotations

from typing import Any

import pytest

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
