import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval._cli.utils import key_val_to_dict
from lm_eval.utils import simple_parse_args_string

from app.arguments.syntax import parse_cli_pairs, parse_gen_kwargs, parse_model_args, parse_names

_SAMPLES = [
    "pretrained=EleutherAI/pythia-1.4b,dtype=auto",
    "pretrained=x,parallelize=True,low=FALSE,revision=None,other=none",
    "a=1,b=-1,c=+7,d=1.5,e=1e3,f=-0.2,g=inf,h=1_000,i=--5,j=",
    "a='123',b=\"x\"",
    "key=a=b=c",
    "a=1,,b=2,",
    "a=1,a=2",
    "",
]
_words = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters=",=\"'[](){}\\"), min_size=1, max_size=8
)
_values = _words | st.integers().map(str) | st.floats().map(str) | st.sampled_from(["true", "False", "None"])


@pytest.mark.parametrize("text", _SAMPLES)
def test_model_args_are_read_as_lm_eval_reads_them(text: str) -> None:
    read = parse_model_args(text)
    assert read.faults == ()
    assert _typed(read.values) == _typed(simple_parse_args_string(text))


@given(st.dictionaries(_words, _values, min_size=1, max_size=5))
def test_any_plain_pairs_are_read_as_lm_eval_reads_them(pairs: dict[str, str]) -> None:
    text = ",".join(f"{key}={value}" for key, value in pairs.items())
    assert _typed(parse_model_args(text).values) == _typed(simple_parse_args_string(text))


@pytest.mark.parametrize(
    "text",
    [
        "pretrained=x,dtype=auto,trust_remote_code=True",
        'temperature=0.8,top_p=0.95,stop=["\\n\\n","a,b"]',
        "device_map={'': 0, 'lm_head': 1}",
        "a=none,b=0x10,c=(1,2),d='a,b',e=1e-3",
    ],
)
def test_command_line_pairs_are_read_as_lm_eval_reads_them(text: str) -> None:
    assert _typed(parse_cli_pairs([text], "model_args").values) == _typed(key_val_to_dict(text))


def test_a_negative_whole_number_stays_whole_on_the_command_line() -> None:
    assert _typed(parse_cli_pairs(["top_k=-1"], "gen_kwargs").values) == _typed({"top_k": -1})


def test_lists_and_objects_are_values_where_lm_eval_would_cut_them() -> None:
    read = parse_gen_kwargs('until=["\\n", "a,b"],max_gen_toks=16,extra={"a": [1, 2]}')
    assert read.values == {"until": ["\n", "a,b"], "max_gen_toks": 16, "extra": {"a": [1, 2]}}


def test_a_json_object_is_taken_whole() -> None:
    read = parse_model_args('{"pretrained": "x", "chat_template_args": {"effort": "low"}, "flag": true}')
    assert read.values == {"pretrained": "x", "chat_template_args": {"effort": "low"}, "flag": True}


def test_blanks_and_continued_lines_are_tolerated() -> None:
    read = parse_model_args("pretrained=x,\\\n    parallelize=True,\\  \n    dtype=bfloat16 , a = 1")
    assert read.values == {"pretrained": "x", "parallelize": True, "dtype": "bfloat16", "a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pretrained=x,dtype", "expected key=value at position 13, found 'dtype'"),
        ("=5", "expected key=value at position 0, found '=5'"),
        ('a=1,until=["x"', "'[' at position 10 is never closed: 'until=[\"x\"'"),
        ('{"a": }', "not valid JSON: Expecting value at position 6; JSON strings take double quotes"),
    ],
)
def test_a_malformed_piece_is_named_with_its_position(text: str, message: str) -> None:
    faults = parse_model_args(text).faults
    assert [(fault.path, fault.message) for fault in faults] == [("model_args", message)]


def test_every_malformed_piece_is_named() -> None:
    assert len(parse_model_args("a,b=1,c").faults) == 2


def test_an_apostrophe_swallows_nothing() -> None:
    read = parse_cli_pairs(["until=Bob's,temperature=0.7"], "gen_kwargs")
    assert read.values == {"until": "Bob's", "temperature": 0.7}
    assert len(read.notes) == 1
    assert "lm-eval 0.4.13 would take what follows it" in read.notes[0]
    assert key_val_to_dict("until=Bob's,temperature=0.7") == {"until": "Bob's,temperature=0.7"}


def test_a_key_given_twice_is_noted() -> None:
    assert parse_model_args("a=1,a=2").notes == (
        "model_args: a is given more than once; the last one counts",
    )


def test_names_lose_blanks_and_trailing_commas() -> None:
    assert parse_names("mmlu, gsm8k,\\\n  arc_easy,") == ["mmlu", "gsm8k", "arc_easy"]


def _typed(values: dict[str, object]) -> dict[str, tuple[str, str]]:
    """Values with their types: 1, 1.0 and True are not the same argument, and NaN is NaN."""
    return {key: (type(value).__name__, repr(value)) for key, value in values.items()}
