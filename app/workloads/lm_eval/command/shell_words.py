"""The words of a pasted shell command, read without a shell.

Quotes, backslashes, comments, plain assignments, variables and sums are understood. What only a shell could do
(substitution, lists) stays as it was written and is named, so that it matters only where its word does. Nothing is
ever run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.errors import FaultyField as Fault
from app.workloads.lm_eval.command.shell_blocks import Blocks, Command
from app.workloads.lm_eval.command.shell_values import NEEDS_A_SHELL, Values, matching_parenthesis
from app.workloads.lm_eval.command.variables import Variables, brief, giving

_BLANKS = " \t\r\u00a0\u200b\ufeff"
"""Also those that come along from web pages."""
_OPERATOR = re.compile(r"&&|\|\||\|&|;;|[;|&\n]")
_REDIRECTION = re.compile(r"(?:\d*|&)(?:>>|>\||>&|<<<|<<-?|<&|>|<)(?:&?\d+(?=[\s;|&)]|$)|-(?=[\s;|&)]|$))?")
_PLACEHOLDER = re.compile(r"<([A-Za-z][^<>\n|&;]*)>")
_CONTINUATION = re.compile(r"\\[ \t]*(?:\r?\n|$)")
_LIST = re.compile(r"[A-Za-z_]\w*\+?=")


@dataclass
class ShellText:
    """What was pasted, as commands, with what a shell would have had to do."""

    commands: list[Command] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    """What stands in words as it was written, since it has no value here, and what is to be said where it matters."""
    used: frozenset[str] = frozenset()
    """Variables that the text set for itself."""


def split_commands(
    text: str, given: Mapping[str, str], preset: Mapping[str, str] = MappingProxyType({})
) -> ShellText:
    """Split `text` into commands and words, with variables filled in.

    `given` stands above what the text assigns, `preset` below it.
    """
    return _Scanner(text, Variables(given, preset)).scan()


class _Scanner:
    def __init__(self, text: str, variables: Variables) -> None:
        self._text = text
        self._variables = variables
        self._blocks = Blocks(variables)
        self._at = 0
        self._word: str | None = None
        self._command = Command()
        self._begun_at, self._line = 0, 1
        self._expects_target = False
        self._heredoc: str | None = None
        self._brackets = 0
        self._result = ShellText(notes=self._blocks.notes)
        self._values = Values(text, variables, self._result.faults, self._result.unread)

    def scan(self) -> ShellText:
        while self._at < len(self._text):
            self._step()
        self._end_command("")
        self._result.used = frozenset(self._variables.used)
        return self._result

    def _step(self) -> None:
        char = self._text[self._at]
        if char == "\\":
            self._backslash()
        elif char == "'":
            self._append(self._quoted_until("'", self._at + 1))
        elif char == '"':
            self._double_quoted()
        elif char in "$`":
            self._unquoted_dollar()
        elif char == "#" and self._word is None:
            self._at = self._line_end()
        elif char in _BLANKS:
            self._end_word()
            self._at += 1
        elif not (self._placeholder() or self._bracket() or self._redirection() or self._operator()):
            self._append(char)
            self._at += 1

    def _append(self, text: str) -> None:
        if self._word is None and not self._command.words:
            self._line += self._text.count("\n", self._begun_at, self._at)
            self._begun_at, self._command.line = self._at, self._line
        self._word = (self._word or "") + text

    def _end_word(self) -> None:
        if self._word is None:
            return
        if self._expects_target:
            self._expects_target = False
            self._heredoc = self._word if self._heredoc == "" else self._heredoc
        else:
            self._command.words.append(self._word)
        self._word = None

    def _end_command(self, operator: str) -> None:
        self._end_word()
        self._expects_target = False
        self._command.ended_by = operator
        if self._command.words and self._blocks.take(self._command):
            self._result.commands.append(self._command)
        self._command = Command(line=self._line)

    def _backslash(self) -> None:
        continuation = _CONTINUATION.match(self._text, self._at)
        if continuation:
            if continuation[0].rstrip("\r\n") != "\\" and "\n" in continuation[0]:
                self._note("a blank follows a \\ at a line's end; the line is read as continued")
            self._at = continuation.end()
            return
        self._append(self._text[self._at + 1])
        self._at += 2

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
                value, self._at = self._values.read(self._at)
                self._append(value)
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

    def _unquoted_dollar(self) -> None:
        """Outside of quotes a variable is taken apart at its blanks, and an empty one is no word, as in a shell."""
        if self._text.startswith('$"', self._at):  # a text to be translated, where somebody would
            self._at += 1
            return
        is_variable = self._values.is_variable(self._at)
        value, self._at = self._values.read(self._at)
        if not is_variable:
            self._append(value)
            return
        for index, part in enumerate(re.split(r"\s+", value)):
            if index:
                self._end_word()
            if part:
                self._append(part)

    def _placeholder(self) -> bool:
        found = _PLACEHOLDER.match(self._text, self._at)
        if not found:
            return False
        value = self._variables.value(found[1])
        if value is None:
            self._result.unread.setdefault(found[0], placeholder_message(found[1]))
        self._append(found[0] if value is None else value)
        self._at = found.end()
        return True

    def _bracket(self) -> bool:
        """Brackets that are a shell's: lists, groups, substituted files."""
        text, at = self._text, self._at
        if text.startswith(("<(", ">("), at) or (text[at] == "(" and _LIST.fullmatch(self._word or "")):
            end = matching_parenthesis(text, at if text[at] == "(" else at + 1)
            written = text[at:end]
            self._append(self._values.unread(written, f"{brief(written)} {NEEDS_A_SHELL}"))
            self._at = end
            return True
        opens = text[at] == "(" and self._word is None and not self._command.words
        if opens and text.startswith("((", at):
            self._append(text[at : matching_parenthesis(text, at)])
            self._at = matching_parenthesis(text, at)
            return True
        if not opens and not (text[at] == ")" and self._brackets):
            return False
        self._brackets += 1 if opens else -1
        self._at += 1
        if not opens:
            self._end_command(")")
        return True

    def _redirection(self) -> bool:
        in_word = self._word is not None and self._text[self._at] not in "<>&"
        found = None if in_word else _REDIRECTION.match(self._text, self._at)
        if not found:
            return False
        self._end_word()
        self._command.redirected = True
        self._expects_target = found[0][-1] in "<>" or found[0].endswith("<<-")
        if found[0].lstrip("0123456789") in ("<<", "<<-"):
            self._heredoc = ""
        self._at = found.end()
        return True

    def _operator(self) -> bool:
        found = _OPERATOR.match(self._text, self._at)
        if not found:
            return False
        self._end_command(found[0])
        self._at = found.end()
        if found[0] == "\n" and self._heredoc:
            self._skip_heredoc(self._heredoc)
        return True

    def _skip_heredoc(self, delimiter: str) -> None:
        """Pass by the text of a heredoc, which is no command."""
        self._heredoc = None
        self._fault(
            f"the text up to {brief(delimiter)} (<<) is for another program, which is not run:"
            " paste the lm_eval command by itself"
        )
        end = re.compile(rf"^\t*{re.escape(delimiter)}$", re.MULTILINE).search(self._text, self._at)
        self._at = end.end() if end else len(self._text)

    def _line_end(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _note(self, message: str) -> None:
        if message not in self._result.notes:
            self._result.notes.append(message)

    def _fault(self, message: str) -> None:
        fault = Fault("command", message)
        if fault not in self._result.faults:
            self._result.faults.append(fault)


def placeholder_message(name: str) -> str:
    """What to say about a `<name>` that nobody filled in."""
    return f"<{name}> is a placeholder; write the value itself or give {giving(name)}"
