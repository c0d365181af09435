"""The lines of the documents that call the API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:curl |ID=).*?(?:<<END\n.*?^END$|$)", re.MULTILINE | re.DOTALL)
"""A call or what keeps the id of a job, with the body that stands below it."""


@dataclass(frozen=True)
class Line:
    """A command of a document."""

    document: str
    command: str

    @property
    def calls(self) -> bool:
        """Whether it calls the API; else it only names something for the lines below."""
        return self.command.startswith("curl ")


def lines() -> Iterator[Line]:
    """All of them, those of the README first: others go on with its job."""
    for document in DOCUMENTS:
        for block in BLOCK.findall(document.read_text()):
            yield from (Line(document.name, command) for command in COMMAND.findall(block))
