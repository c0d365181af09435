"""The variables of a pasted text: those that were given beside it, and those that plain assignments in it set."""

from __future__ import annotations

import re
from collections.abc import Mapping

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
SECRET = re.compile(r"(^|_)(TOKEN|API_?KEY|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
MOST_SHOWN = 100
MOST_CHARACTERS = 16_384
"""Of one value: a text whose assignments double each other would fill the memory."""


class Variables:
    """Values by name. What was given beside the text stands; of what a shell alone could know, it is said why."""

    def __init__(self, given: Mapping[str, str], preset: Mapping[str, str]) -> None:
        self._given = given
        self._set = dict(preset)
        self._doubts: dict[str, str] = {}
        self.used: set[str] = set()
        """Names whose value the text set and asked for."""
        self.asked: set[str] = set()
        """Names that the present command asked for."""
        self.sure = True
        """Whether the present place in the text is reached whatever happens before it."""

    def value(self, name: str) -> str | None:
        """The value at the present place in the text, or None where nobody can tell."""
        self.asked.add(name)
        if name in self._given:
            return self._given[name]
        if name in self._set:
            self.used.add(name)
        return self._set.get(name)

    def peek(self, name: str) -> str | None:
        """The value, for one who does not use it."""
        return self._given.get(name, self._set.get(name))

    def is_doubtful(self, name: str) -> bool:
        """Whether the text sets it to what nobody can tell, so that no default stands for it."""
        return name in self._doubts and name not in self._given

    def why_none(self, name: str) -> str:
        """Why a name has no value, and what to do."""
        why = self._doubts.get(name, f"the variable ${name} has no value here")
        if SECRET.search(name):
            return why
        return f"{why}; write it out or give {giving(name)}"

    def assign(self, name: str, value: str, *, added: bool = False) -> None:
        """Set a name, or add to what it has. A credential is not kept; what grows without end neither."""
        before = self._set.get(name, "") if added else ""
        if SECRET.search(name):
            self.doubt(name, f"the credential ${name} is never taken from a command")
        elif added and name in self._doubts:
            return
        elif len(before) + len(value) > MOST_CHARACTERS:
            self.doubt(name, f"the value of ${name} has more than {MOST_CHARACTERS} characters")
        else:
            self._set[name] = before + value
            self._doubts.pop(name, None)

    def keep(self, name: str, value: str) -> None:
        """Let a default be the value from now on, as `${NAME:=default}` does."""
        if self.sure and self.peek(name) in (None, "") and not self.is_doubtful(name):
            self.assign(name, value)
        elif not self.sure:
            self.doubt(name, f"what ${name} is depends on a condition or a loop")

    def doubt(self, name: str, why: str) -> None:
        """Know a name's value no longer, for a reason that is told where it is asked for."""
        self._set.pop(name, None)
        self._doubts[name] = why


def giving(name: str) -> str:
    """How the value of a name is given beside a pasted text."""
    quoted = f"'{name}=VALUE'" if re.search(r"\W", name) else f"{name}=VALUE"
    return f"--set {quoted} (over HTTP: `variables`)"


def brief(written: str) -> str:
    """A part of a text as a message shows it."""
    return written if len(written) <= MOST_SHOWN else f"{written[:MOST_SHOWN]}..."
