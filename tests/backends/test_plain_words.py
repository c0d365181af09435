"""What is shown of an exception: what a check found, in one line."""

from __future__ import annotations

import pytest

from app.backends.plain_words import plain

LINK = "\n    For further information visit https://errors.pydantic.dev/2.14/v/value_error"
LENGTH = (
    "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
    "  Value error, User-specified max_model_len (4096) is greater than the derived one.\n"
    "Take less. [type=value_error, input_value=ArgsKwargs((), {'model': ... 1}), input_type=ArgsKwargs]"
    + LINK
)
RANK = (
    "pydantic_core._pydantic_core.ValidationError: 1 validation error for LoRAConfig\n"
    "max_lora_rank\n"
    "  Input should be 1, 8 or 16 [type=literal_error, input_value=17, input_type=int]" + LINK
)
TWO = (
    "pydantic_core._pydantic_core.ValidationError: 2 validation errors for ModelConfig\n"
    "dtype.literal['auto','half']\n"
    "  Input should be 'auto' or 'half' [type=literal_error, input_value='float12', input_type=str]"
    + LINK
    + "\n"
    "dtype.is-instance[dtype]\n"
    "  Input should be an instance of dtype [type=is_instance_of, input_value='float12', input_type=str]"
    + LINK
)


@pytest.mark.parametrize(
    ("exception", "words"),
    [
        (
            LENGTH,
            "ValueError: User-specified max_model_len (4096) is greater than the derived one. Take less.",
        ),
        (RANK, "ValueError: LoRAConfig.max_lora_rank: Input should be 1, 8 or 16, not 17"),
        (TWO, "ValueError: ModelConfig.dtype: Input should be 'auto' or 'half', not 'float12'"),
        (
            "Exception: Call to add_lora method failed: Worker failed with error 'LoRA rank 32 is greater.', please"
            " check the stack trace above for the root cause",
            "LoRA rank 32 is greater.",
        ),
        ("ValueError: in\n  two   lines\n", "ValueError: in two lines"),
        ("ValidationError: 1 validation error for X\n", "ValueError: X.: "),
        ("", ""),
    ],
)
def test_what_a_check_found_is_shown_instead_of_the_check(exception: str, words: str) -> None:
    assert plain(exception).strip() == words.strip()


def test_a_long_list_is_cut() -> None:
    names = ", ".join(f"'Model{number}ForCausalLM'" for number in range(300))
    told = plain(f"ValueError: ['X'] is not supported. Supported: dict_keys([{names}])")
    assert told.startswith("ValueError: ['X'] is not supported. Supported: dict_keys(['Model0ForCausalLM'")
    assert told.endswith(" ...])")
    assert len(told) < 200


def test_a_list_that_was_cut_before_is_cut_too() -> None:
    assert len(plain(f"ValueError: {{{'x, ' * 5000}")) < 150


def test_huge_texts_take_no_time() -> None:
    for text in (
        "[" * 100_000,
        "[a" * 50_000,
        " \n" * 50_000,
        "[type=" * 20_000,
        "ValidationError: " * 5_000,
    ):
        assert len(plain(text)) <= len(text)
