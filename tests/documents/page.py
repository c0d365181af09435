"""`docs/commands.md`: the table of the documents' commands for people. `python -m tests.documents.page` prints it."""

from __future__ import annotations

import re
import sys

from tests.documents.commands import Evaluation, evaluations
from tests.documents.distributed import EXPECTED as DISTRIBUTED
from tests.documents.expected import Expected
from tests.documents.multi_gpu import EXPECTED as MULTI_GPU
from tests.documents.planned import FIRST
from tests.documents.planned_mixed import SECOND
from tests.documents.plans import CLUSTERS, Planned

BY_DOCUMENT = {"distributed-evaluation": DISTRIBUTED, "multi-gpu-evaluation.ko": MULTI_GPU}
_HEAD = """# Commands of the guides

What evalq makes of every evaluation command in the guides that `tests/documents` holds, read without a shell and
whether or not its backend is installed: how wide one engine is, how many replicas share the requests, how much memory
each GPU needs by the guides' rule and by arithmetic, what is missing, and what evalq does otherwise than the command.
The plans are those of two clusters, whose workers have hf and vllm: one group of 8 x H100 (79.65 GiB each), and two
groups, 4 x A100 (39.5 GiB) and 4 x L4 (22.5 GiB). Where a command leaves the number of replicas open, as many are taken
as are free and worth their loading. How a plan is made stands in [planning](planning.md).

To see the plan of any of them: `evalq plan - <<'END'`, the command, and `END` in a line of its own.
`python -m tests.documents.page` writes this page from the table that the tests hold the reading against.
"""
_DATA = ("data_parallel_size", "dp_size")


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for document, rows in BY_DOCUMENT.items():
        header = " | ".join(("line", "command", *CLUSTERS, "otherwise than the command"))
        parts.append(f"## {document}\n\n| {header} |\n|---|---|---|---|---|")
        found = {command.line: command for command in evaluations() if command.document == document}
        parts[-1] += "".join(f"\n{_row(found[row.line], row)}" for row in rows)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _row(command: Evaluation, row: Expected) -> str:
    text = re.sub(r"\s+#.*", "", re.sub(r"\\[ \t]*\n\s*", " ", command.text))
    text = re.sub(r",\s+", ",", re.sub(r"\s+", " ", text))
    at = (command.document, command.line)
    told = [*_widths_told(row), *row.notes]
    cells = [str(row.line), f"`{text}`", _plan(FIRST[at]), _plan(SECOND[at]) if at in SECOND else "the same"]
    cells.append("; ".join(told))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _plan(planned: Planned) -> str:
    missing = "; ".join(planned.faults)
    return "<br>".join(filter(None, (planned.plan, missing and f"**Missing:** {missing}")))


def _widths_told(row: Expected) -> list[str]:
    return [f"{name} becomes replicas, which share the requests" for name in _DATA if name in row.model_args]


if __name__ == "__main__":
    sys.stdout.write(page())
