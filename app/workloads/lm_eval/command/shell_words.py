"""The words of a pasted shell command, read without a shell.

Quotes, backslashes, comments and variables are understood. What only a shell could do (substitution, globbing of
`$(...)`) is a fault that names it; nothing is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.errors import FaultyField as Fault

_OPERATOR = re.compile(r"&&|\|\||\|&|;;|[;|&\n]")
_REDIRECTION = re.compile(r"(?:\d*|&)(?:>>|>\||>&|<<<|<<-?|<&|>|<)(?:&?\d+(?=\s|$)|-(?=\s|$))?")
_PLACEHOLDER = re.compile(r"<([A-Za-z][^<>\n|&;]*)>")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?-([^}]*))?\})")
_CONTINUATION = re.compile(r"\\[ \t]*(?:\r?\n|$)")
_SPECIAL_PARAMETER = re.compile(r"\$[@*#?$!0-9]|\$\{[^}]*\}")


@dataclass
class Command:
    """One simple command: its words, and the operator that ended it."""

    words: list[str] = field(default_factory=list)
    ended_by: str = ""
    redirected: bool = False


@dataclass
class ShellText:
    """What was pasted, as commands, with what a shell would have had to do."""

    commands: list[Command] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def split_commands(text: str, variables: Mapping[str, str], path: str = "command") -> ShellText:
    """Split `text` into commands and words, with `variables` filled in.

    Faults name every variable without a value, every placeholder and every substitution.
    """
    return _Scanner(text, variables, path).scan()


class _Scanner:
    def __init__(self, text: str, variables: Mapping[str, str], path: str) -> None:
        self._text = text
        self._variables = variables
        self._path = path
        self._at = 0
        self._word: str | None = None
        self._command = Command()
        self._expects_target = False
        self._result = ShellText()
        self._said: set[Fault] = set()
        self._last_brace = text.rfind("}")

    def scan(self) -> ShellText:
        while self._at < len(self._text):
            self._step()
        self._end_command("")
        return self._result

    def _step(self) -> None:
        char = self._text[self._at]
        if char == "\\":
            self._backslash()
        elif char == "'":
            self._single_quoted()
        elif char == '"':
            self._double_quoted()
        elif char in "$`":
            self._append(self._dollar())
        elif char == "#" and self._word is None:
            self._at = self._line_end()
        elif char in " \t\r":
            self._end_word()
            self._at += 1
        elif not self._placeholder() and not self._redirection() and not self._operator():
            self._append(char)
            self._at += 1

    def _append(self, text: str) -> None:
        self._word = (self._word or "") + text

    def _end_word(self) -> None:
        if self._word is None:
            return
        if self._expects_target:
            self._expects_target = False
        else:
            self._command.words.append(self._word)
        self._word = None

    def _end_command(self, operator: str) -> None:
        self._end_word()
        self._expects_target = False
        if self._command.words:
            self._command.ended_by = operator
            self._result.commands.append(self._command)
        self._command = Command()

    def _backslash(self) -> None:
        continuation = _CONTINUATION.match(self._text, self._at)
        if continuation:
            if continuation[0].rstrip("\r\n") != "\\" and "\n" in continuation[0]:
                self._note("a blank follows a \\ at a line's end; the line is read as continued")
            self._at = continuation.end()
            return
        self._append(self._text[self._at + 1])
        self._at += 2

    def _single_quoted(self) -> None:
        self._append(self._quoted_until("'", self._at + 1))

    def _double_quoted(self) -> None:
        opening = self._at
        self._append("")
        self._at += 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == '"':
                self._at += 1
                return
            if char == "\\" and self._text[self._at + 1 : self._at + 2] in ('"', "\\", "$", "`", "\n"):
                self._append(self._text[self._at + 1].removesuffix("\n"))
                self._at += 2
            elif char in "$`":
                self._append(self._dollar())
            else:
                self._append(char)
                self._at += 1
        self._fault(f'the " at position {opening} is never closed')

    def _quoted_until(self, quote: str, start: int) -> str:
        end = self._text.find(quote, start)
        if end < 0:
            self._fault(f"the {quote} at position {start - 1} is never closed")
            end = len(self._text)
        self._at = end + 1
        return self._text[start:end]

    def _dollar(self) -> str:
        """What a `$...` or backtick at the present position stands for; moves past it."""
        variable = None if self._unclosed_brace() else _VARIABLE.match(self._text, self._at)
        if variable:
            self._at = variable.end()
            return self._value_of(variable[1] or variable[2], variable[3])
        if self._text.startswith("$'", self._at):
            return self._ansi_quoted()
        end = self._substitution_end()
        if end is None:
            self._at += 1
            return "$"
        written = self._text[self._at : end]
        self._fault(f"{written} would need a shell, which evalq never runs; write the value itself")
        self._at = end
        return written

    def _unclosed_brace(self) -> bool:
        """A `${` that no brace closes; to look for one after each of many would take their number squared."""
        return self._at > self._last_brace and self._text.startswith("${", self._at)

    def _value_of(self, name: str, default: str | None) -> str:
        value = self._variables.get(name, default)
        if value is None:
            self._fault(f"the variable ${name} has no value here; write it out or give --set {name}=VALUE")
            return f"${name}"
        return value

    def _ansi_quoted(self) -> str:
        r"""A `$'...'` word; the escapes of Python and of bash agree on `\n`, `\t`, `\\`, `\'` and `\xHH`."""
        closing = re.compile(r"\$'((?:\\.|[^'\\])*)'", re.DOTALL).match(self._text, self._at)
        if not closing:
            return self._quoted_until("'", self._at + 2)
        self._at = closing.end()
        escapes = {"n": "\n", "t": "\t", "r": "\r"}
        return re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), closing[1])

    def _substitution_end(self) -> int | None:
        text, start = self._text, self._at
        if text[start] == "`":
            end = text.find("`", start + 1)
            return end + 1 if end >= 0 else len(text)
        if text.startswith("$(", start):
            return _matching_parenthesis(text, start + 1)
        special = None if self._unclosed_brace() else _SPECIAL_PARAMETER.match(text, start)
        return special.end() if special else None

    def _placeholder(self) -> bool:
        found = _PLACEHOLDER.match(self._text, self._at)
        if not found:
            return False
        self._append(self._variables.get(found[1], found[0]))
        if found[1] not in self._variables:
            self._fault(placeholder_message(found[1]))
        self._at = found.end()
        return True

    def _redirection(self) -> bool:
        in_word = self._word is not None and self._text[self._at] not in "<>&"
        found = None if in_word else _REDIRECTION.match(self._text, self._at)
        if not found:
            return False
        self._end_word()
        self._command.redirected = True
        self._expects_target = found[0][-1] in "<>"
        self._at = found.end()
        return True

    def _operator(self) -> bool:
        found = _OPERATOR.match(self._text, self._at)
        if not found:
            return False
        self._end_command(found[0])
        self._at = found.end()
        return True

    def _line_end(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _note(self, message: str) -> None:
        if message not in self._result.notes:
            self._result.notes.append(message)

    def _fault(self, message: str) -> None:
        fault = Fault(self._path, message)
        if fault not in self._said:
            self._said.add(fault)
            self._result.faults.append(fault)


def placeholder_message(name: str) -> str:
    """What to say about a `<name>` that nobody filled in."""
    return f"<{name}> is a placeholder; write the value itself or give --set '{name}=VALUE'"


def _matching_parenthesis(text: str, opening: int) -> int:
    depth = 0
    for index in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    return len(text)
