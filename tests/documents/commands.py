"""The evaluation commands in the four documents.

The rule: in a fenced block, a command (with the lines that a backslash joins to it, and without comments) that starts
`lm_eval`, or starts processes for it (`accelerate launch`), or hands a script that does to SLURM (`sbatch`). Arguments
that the document left out as `...` make it no less of one. Flags alone, installations and what trains are none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
DOCUMENTS = tuple(sorted(FOLDER.glob("*.md")))
_BLOCK = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(?!#)(?:[^\n\\]|\\[ \t]*\n|\\.)+", re.MULTILINE)
_EVALUATES = re.compile(r"(?:^|\s)lm_eval(?:\s|$)|(?:^|\s)accelerate launch\s|^sbatch\s")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation command, where it stands."""

    document: str
    line: int
    text: str
    pasted: str
    """What somebody copies: the whole block where it holds no other evaluation command, else the command alone."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    line: int
    language: str
    text: str


def blocks() -> list[Block]:
    """Every fenced block of the documents."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            line = text.count("\n", 0, block.start(2)) + 1
            found.append(Block(path.stem, line, block[1], block[2]))
    return found


def evaluations() -> list[Evaluation]:
    """The commands that evaluate, in the order of the documents."""
    return [command for block in blocks() if block.language == "bash" for command in _of_block(block)]


def _of_block(block: Block) -> list[Evaluation]:
    commands = [found for found in _COMMAND.finditer(block.text) if _EVALUATES.search(found[0].strip())]
    return [
        Evaluation(
            block.document,
            block.line + block.text.count("\n", 0, found.start()),
            found[0].strip(),
            block.text if len(commands) == 1 else found[0],
        )
        for found in commands
    ]
