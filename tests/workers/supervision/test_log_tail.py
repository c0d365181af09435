from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.redaction import redact
from workers.supervision.log_tail import LogTail, cause_of, first_error_block


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "engine.log"


def append(log: Path, raw: bytes) -> None:
    with log.open("ab") as file:
        file.write(raw)


def test_a_log_that_is_not_there_yet_is_empty(log: Path) -> None:
    tail = LogTail(log)
    assert tail.read_new(100) == ""
    assert tail.tail(5) == []
    append(log, b"hello\n")
    assert tail.read_new(100) == "hello\n"


def test_only_whole_lines_are_read_and_each_once(log: Path) -> None:
    tail = LogTail(log)
    append(log, b"one\ntw")
    assert tail.read_new(100) == "one\n"
    assert tail.read_new(100) == ""
    append(log, b"o\n")
    assert tail.read_new(100) == "two\n"


def test_the_unfinished_last_line_comes_at_the_end(log: Path) -> None:
    tail = LogTail(log)
    append(log, b"one\nKilled")
    assert tail.read_new(4, ended=True) == "one\n"
    assert tail.read_new(100, ended=True) == "Killed"
    assert tail.read_new(100, ended=True) == ""


def test_a_line_longer_than_asked_for_comes_in_pieces(log: Path) -> None:
    tail = LogTail(log)
    append(log, b"a" * 25 + b"\n")
    assert [tail.read_new(10) for _ in range(4)] == ["a" * 10, "a" * 10, "a" * 5 + "\n", ""]


def test_a_progress_bar_is_cut_where_it_returns(log: Path) -> None:
    append(log, b"10%\r20%\r30")
    assert LogTail(log).read_new(100) == "10%\r20%\r"


def test_lines_are_read_and_quoted_between_two_places(log: Path) -> None:
    tail = LogTail(log)
    append(log, b"one\ntwo\nthr")
    assert tail.read_new(100, ended=True, until=6) == "one\ntw"
    assert tail.read_new(100, ended=True, until=5) == ""
    assert tail.tail(5, start=4, end=7) == ["two"]
    assert tail.tail(5, start=9, end=4) == []
    assert tail.head(start=8) == "thr"
    assert tail.skip() == 11
    append(log, b"ee\n")
    assert tail.read_new(100) == "ee\n"


def test_what_could_not_be_kept_is_read_again(log: Path) -> None:
    tail = LogTail(log)
    append(log, b"one\ntwo\n")
    assert tail.read_new(4) == "one\n"
    for _ in range(2):
        assert tail.read_new(4) == "two\n"
        tail.unread()
    assert tail.read_new(4) == "two\n"
    assert tail.read_new(4) == ""


def test_a_truncated_log_is_read_from_its_beginning(log: Path) -> None:
    tail = LogTail(log)
    append(log, b"a long first line\n")
    tail.read_new(100)
    log.write_bytes(b"anew\n")
    assert tail.read_new(100) == "anew\n"


def test_bytes_that_are_no_text_are_replaced(log: Path) -> None:
    append(log, b"caf\xe9\n")
    assert LogTail(log).read_new(100) == "caf\ufffd\n"


def test_the_last_lines_include_an_unfinished_one(log: Path) -> None:
    append(log, b"one\ntwo\nthree")
    assert LogTail(log).tail(2) == ["two", "three"]


def test_what_is_read_is_redacted(log: Path) -> None:
    append(log, b"token hf_abcdefghijklmnopqrstuvwxyz012345\n")
    assert LogTail(log).read_new(100) == "token hf_***\n"
    assert LogTail(log).tail(1) == ["token hf_***"]
    assert LogTail(log).head() == "token hf_***\n"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("login(hf_abcdefghijklmnopqrstuvwxyz012345)", "login(hf_***)"),
        ("key evq_3fA-9_xyzzyplugh used", "key evq_*** used"),
        ("Authorization: Bearer eyJhbGciOi.J9.x-y", "Authorization: Bearer ***"),
        ("postgresql://evalq:hunter2@db:5432/evalq", "postgresql://evalq:***@db:5432/evalq"),
        ("redis://:p%40ss@redis/0", "redis://:***@redis/0"),
        ("env: {'OPENAI_API_KEY': 'abc', 'A': 1}", "env: {'OPENAI_API_KEY': '***', 'A': 1}"),
        ("HF_TOKEN=abc lm_eval run", "HF_TOKEN=*** lm_eval run"),
        ("key sk-abcdefghijklmnopqrst", "key sk-***"),
    ],
)
def test_secrets_are_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "hf_overrides=None, pad_token: </s>, max_tokens=16, tokenizer=gpt2",
        "loading https://huggingface.co/meta-llama/Llama-2-7b-hf at 10:31:07",
        "basic sampling; Bearer of bad news",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


PLAIN = """\
INFO loading
Traceback (most recent call last):
  File "engine.py", line 3, in load
    model = AutoModel.from_pretrained(name)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
pydantic.ValidationError: 1 validation error for ModelConfig
  Value error, no such dtype
bye

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "engine.py", line 9, in main
RuntimeError: Engine core initialization failed.
"""

VLLM = """\
INFO 07-10 14:49:33 [utils.py:485] Waiting for 1 local, 0 remote core engine proc(s) to start.
(EngineCore pid=77) ERROR 05-05 07:35:19 [core.py:1136] EngineCore failed to start.
(EngineCore pid=77) ERROR 05-05 07:35:19 [core.py:1136] Traceback (most recent call last):
(EngineCore pid=77) ERROR 05-05 07:35:19 [core.py:1136]   File "core.py", line 708, in run_engine_core
(APIServer pid=1) INFO 05-05 07:35:19 [launcher.py:1] still waiting
(EngineCore pid=77) ERROR 05-05 07:35:20 [core.py:1136]     engine_core = EngineCoreProc(*args, **kwargs)
(EngineCore pid=77) ERROR 05-05 07:35:20 [core.py:1136] ValueError: To serve one request with the max seq len,
(EngineCore pid=77) ERROR 05-05 07:35:20 [core.py:1136] the estimated maximum model length is 32768.
(EngineCore pid=77) Traceback (most recent call last):
(EngineCore pid=77)   File "process.py", line 314, in _bootstrap
(EngineCore pid=77) ValueError: the same again
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.
"""


def test_the_first_traceback_is_found_whole() -> None:
    block = first_error_block(PLAIN)
    assert block.startswith("Traceback")
    assert block.endswith("ValidationError: 1 validation error for ModelConfig\n  Value error, no such dtype")
    assert cause_of(block).startswith("pydantic.ValidationError: 1 validation error")


def test_prefixes_and_other_processes_are_left_out() -> None:
    block = first_error_block(VLLM)
    assert block.splitlines()[1] == '  File "core.py", line 708, in run_engine_core'
    assert "still waiting" not in block
    assert cause_of(block) == (
        "ValueError: To serve one request with the max seq len,\nthe estimated maximum model length is 32768."
    )


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: CUDA error: out of memory",
        "[rank0]: RuntimeError: CUDA error: out of memory",
        "Fatal Python error: Segmentation fault",
        "ERROR: cannot open shared object file",
    ],
)
def test_without_a_traceback_the_first_error_line_is_taken(line: str) -> None:
    block = first_error_block(f"loading\n{line}\n  a detail\nan unrelated line\n")
    assert block == f"{line.removeprefix('[rank0]: ')}" + ("\n  a detail" if "rank" not in line else "")
    assert cause_of(block) == line.removeprefix("[rank0]: ")


def test_a_log_without_errors_has_none() -> None:
    assert first_error_block("loading\nUserWarning: slow\n0 errors\n") == ""
    assert first_error_block("") == ""
    assert cause_of("") == ""


def test_a_log_that_has_grown_too_long_is_emptied_and_goes_on(log: Path) -> None:
    tail = LogTail(log, most_bytes=100)
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 79 + b"\n")
        assert tail.read_new(1000) == "x" * 79 + "\n"
        writer.write(b"y" * 79 + b"\n")
        assert tail.read_new(1000) == "[80 bytes were left out: the log had grown too long]\n"
        assert log.stat().st_size == 0
        writer.write(b"on\n")
        assert tail.read_new(1000) == "on\n"
