"""Every evaluation command of the documents is read as the table says, whether or not its backend is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from app.backends.registry import read_parallelism
from app.workloads.lm_eval.command.command_line import ParsedCommand, parse_command
from tests.documents.commands import Block, Evaluation, blocks, evaluations
from tests.documents.expected import Expected
from tests.documents.page import BY_DOCUMENT, page

COMMANDS = evaluations()
ROWS = {(document, row.line): row for document, rows in BY_DOCUMENT.items() for row in rows}
PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
NOTHING_ELSE = "no lm_eval command is in here; it begins with lm_eval, python -m lm_eval or accelerate launch"
FLAGS_ALONE = {
    "distributed-evaluation": {406, 424, 429, 434, 472},
    "multi-gpu-evaluation.ko": {309, 361},
    "sentence-bert-training.ko": {178},
}
TRAINING = {19, 45, 97, 113}
"""Of `sentence-bert-training.ko`."""


def test_there_are_forty_five_and_each_has_its_row() -> None:
    assert len(COMMANDS) == 45
    assert {(command.document, command.line) for command in COMMANDS} == ROWS.keys()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: f"{each.document}:{each.line}")
def test_a_command_is_read_as_the_table_says(command: Evaluation) -> None:
    row = ROWS[command.document, command.line]
    parsed = parse_command(command.pasted, {})
    assert _read(row.line, parsed) == row


def _read(line: int, parsed: ParsedCommand) -> Expected:
    fields = dict(parsed.fields)
    args = fields.pop("model_args", {})
    model = fields.pop("model", None)
    widths = read_parallelism(str(model), args)
    faults = [fault.message for fault in (*parsed.faults, *widths.faults)]
    return Expected(
        line,
        model,
        args,
        tuple(fields.pop("tasks", ())),
        fields.pop("batch_size", "auto"),
        fields.pop("num_fewshot", None),
        widths.tensor_parallel_size,
        widths.pipeline_parallel_size,
        fields.pop("replicas", widths.replicas),
        fields.pop("gpus_per_replica", widths.gpus_per_replica),
        fields,
        (*parsed.notes, *widths.notes),
        "\n".join(faults) or None,
    )


def _others() -> list[Block]:
    held = {(command.document, command.text) for command in COMMANDS}
    return [
        block
        for block in blocks()
        if block.language == "bash"
        and not any(block.document == document and text in block.text for document, text in held)
    ]


@pytest.mark.parametrize("block", _others(), ids=lambda each: f"{each.document}:{each.line}")
def test_what_evaluates_nothing_is_answered_in_words(block: Block) -> None:
    parsed = parse_command(block.text, {})
    messages = [fault.message for fault in parsed.faults]
    if block.line in FLAGS_ALONE.get(block.document, ()):
        assert messages == []
        assert parsed.fields
    elif block.document.startswith("sentence-bert") and block.line in TRAINING:
        assert "trains a model, and evalq evaluates models" in messages[0]
    elif any(line.lstrip().startswith("--") for line in block.text.splitlines()):
        assert "are flags alone: put those that you want behind one lm_eval" in messages[0]
    else:
        assert messages == [NOTHING_ELSE]


def test_accelerates_own_configuration_ends_in_the_plan_of_the_plain_command() -> None:
    (written,) = (block for block in blocks() if block.language == "yaml")
    command = next(each for each in COMMANDS if (each.document, each.line) == (written.document, 103))
    files = {"default_config.yaml": yaml.safe_load(written.text)}
    plain = command.pasted.replace("launch", "launch --num_processes 8")
    configured = parse_command(command.pasted, {}, files)
    assert configured.faults == []
    assert configured.fields == parse_command(plain, {}).fields
    assert configured.fields["replicas"] == 8
    assert any("mixed_precision bf16 of the launcher is left out" in note for note in configured.notes)


def test_a_block_of_two_commands_is_read_as_its_first_and_names_the_second() -> None:
    (block,) = (block for block in blocks() if block.text.count("time ") == 2)
    parsed = parse_command(block.text, {})
    assert [fault.message for fault in parsed.faults] == [
        "more than one lm_eval command is in here: the one in line 2 is read, the one in line 10 is not;"
        " submit them one at a time"
    ]
    assert parsed.fields["limit"] == 1000
    assert "replicas" not in parsed.fields


def test_the_page_of_commands_says_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run: python -m tests.documents.page > docs/commands.md"
    )
