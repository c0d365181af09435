"""`docs/commands.md`: the table of the documents' commands for people. `python -m tests.documents.page` prints it."""

from __future__ import annotations

import re
import sys

from tests.documents.commands import Evaluation, evaluations
from tests.documents.distributed import EXPECTED as DISTRIBUTED
from tests.documents.expected import Expected
from tests.documents.multi_gpu import EXPECTED as MULTI_GPU

BY_DOCUMENT = {"distributed-evaluation": DISTRIBUTED, "multi-gpu-evaluation.ko": MULTI_GPU}
_HEAD = """# Commands of the guides

What evalq makes of every evaluation command in the guides that `tests/documents` holds, read without a shell and
whether or not its backend is installed: how wide one engine is, how many replicas share the requests, and what evalq
does otherwise than the command. Where a command leaves a number open, a replica has one GPU, with `parallelize=True` as
few as hold a model whose size is known, and as many replicas are taken as are free and worth their loading. A model or
a task that does not exist is told beside it.

To see the plan of any of them: `evalq plan - <<'END'`, the command, and `END` in a line of its own.
`python -m tests.documents.page` writes this page from the table that the tests hold the reading against.
"""
_DATA = ("data_parallel_size", "dp_size")


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for document, rows in BY_DOCUMENT.items():
        parts.append(
            f"## {document}\n\n| line | command | plan | otherwise than the command |\n|---|---|---|---|"
        )
        found = {command.line: command for command in evaluations() if command.document == document}
        parts[-1] += "".join(f"\n{_row(found[row.line], row)}" for row in rows)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _row(command: Evaluation, row: Expected) -> str:
    text = re.sub(r"\s+#.*", "", re.sub(r"\\[ \t]*\n\s*", " ", command.text))
    text = re.sub(r",\s+", ",", re.sub(r"\s+", " ", text))
    told = [f"refused: {row.refusal}"] if row.refusal else [*_widths_told(row), *row.notes]
    cells = [str(row.line), f"`{text}`", "-" if row.refusal else _plan(row), "; ".join(told)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _plan(row: Expected) -> str:
    width = f"TP {row.tensor}" + (f" x PP {row.pipeline}" if row.pipeline > 1 else "")
    each = "1 GPU" if row.gpus == 1 else f"{row.gpus} GPUs" if row.gpus else _open_width(row)
    copies = "replicas" if row.replicas is None else f"{row.replicas} replica{'s' * (row.replicas > 1)}"
    gpus = row.gpus or (None if row.model_args.get("parallelize") else 1)
    world = f"; world size {row.replicas * gpus}" if row.replicas and gpus else ""
    return f"{row.model}, {width}, {copies} of {each}{world}"


def _open_width(row: Expected) -> str:
    return "as few GPUs as hold it, if known" if row.model_args.get("parallelize") else "1 GPU"


def _widths_told(row: Expected) -> list[str]:
    return [f"{name} becomes replicas, which share the requests" for name in _DATA if name in row.model_args]


if __name__ == "__main__":
    sys.stdout.write(page())
