"""What a `$...` or a backtick in a pasted text stands for, read without a shell."""

from __future__ import annotations

import re

from app.errors import FaultyField as Fault
from app.workloads.lm_eval.command.arithmetic import NoNumberError, reckoned
from app.workloads.lm_eval.command.variables import Variables, brief

NEEDS_A_SHELL = "would need a shell, which evalq never runs"
_VARIABLE = re.compile(r"\$(?:(\d|[A-Za-z_]\w*)|\{(\d+|[A-Za-z_]\w*)(?:(:?)([-=])([^}$`]*))?\})")
_SPECIAL_PARAMETER = re.compile(r"\$[@*#?$!]|\$\{[^}]*\}")
_ANSI_QUOTED = re.compile(r"\$'((?:\\.|[^'\\])*)'", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_MOST_EXPANDED = 200_000
"""Characters that variables may add to a text."""


class Values:
    """Reads values in one text. What has none stays as it was written and stands in `unread`, with what to say."""

    def __init__(self, text: str, variables: Variables, faults: list[Fault], unread: dict[str, str]) -> None:
        self._text = text
        self._variables = variables
        self._faults = faults
        self._unread = unread
        self._room = _MOST_EXPANDED
        self._last_brace = text.rfind("}")

    def read(self, at: int) -> tuple[str, int]:
        """The value of what begins at `at`, and where it ends."""
        variable = None if self._unclosed_brace(at) else _VARIABLE.match(self._text, at)
        if variable:
            name, default = variable[1] or variable[2], variable[5]
            value = self._value_of(name, default, for_empty=bool(variable[3]))
            if variable[4] == "=":
                self._variables.keep(name, value)
            return value, variable.end()
        if self._text.startswith("$'", at):
            return self._ansi_quoted(at)
        end = self._substitution_end(at)
        if end is None:
            return "$", at + 1
        written = self._text[at:end]
        if written.startswith("$((") and written.endswith("))"):
            return self._sum(written), end
        return self.unread(written, f"{brief(written)} {NEEDS_A_SHELL}"), end

    def is_variable(self, at: int) -> bool:
        """Whether a variable begins there, whose value a shell takes apart outside of quotes."""
        return not self._unclosed_brace(at) and _VARIABLE.match(self._text, at) is not None

    def unread(self, written: str, message: str) -> str:
        """What stays as it was written."""
        self._unread.setdefault(written, f"{message}; write the value itself")
        return written

    def _sum(self, written: str) -> str:
        try:
            return str(reckoned(written[3:-2], self._variables.value))
        except NoNumberError as error:
            return self.unread(written, f"{brief(written)} {error}")

    def _unclosed_brace(self, at: int) -> bool:
        """A `${` that no brace closes; to look for one after each of many would take their number squared."""
        return at > self._last_brace and self._text.startswith("${", at)

    def _value_of(self, name: str, default: str | None, *, for_empty: bool) -> str:
        value = self._variables.value(name)
        if (value is None and not self._variables.is_doubtful(name)) or (value == "" and for_empty):
            value = default
        if value is None:
            written = f"${{{name}}}"
            self._unread.setdefault(written, self._variables.why_none(name))
            return written
        if len(value) > self._room:
            message = f"the variables of this text would make more than {_MOST_EXPANDED} characters of it"
            fault = Fault("command", message)
            self._faults += [] if fault in self._faults else [fault]
            return ""
        self._room -= len(value)
        return value

    def _ansi_quoted(self, at: int) -> tuple[str, int]:
        r"""A `$'...'` word; the escapes of Python and of bash agree on `\n`, `\t`, `\\`, `\'` and `\xHH`."""
        closed = _ANSI_QUOTED.match(self._text, at)
        if not closed:
            self._faults.append(Fault("command", f"the ' at position {at + 1} is never closed"))
            return self._text[at + 2 :], len(self._text)
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), closed[1]), closed.end()

    def _substitution_end(self, at: int) -> int | None:
        if self._text[at] == "`":
            end = self._text.find("`", at + 1)
            return end + 1 if end >= 0 else len(self._text)
        if self._text.startswith("$(", at):
            return matching_parenthesis(self._text, at + 1)
        special = None if self._unclosed_brace(at) else _SPECIAL_PARAMETER.match(self._text, at)
        return special.end() if special else None


def matching_parenthesis(text: str, opening: int) -> int:
    """Where the bracket that opens there has been closed, or the end of the text."""
    depth = 0
    for index in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    return len(text)
