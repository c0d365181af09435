"""What loops, conditions, groups and assignments of a pasted text do to the commands in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from app.workloads.lm_eval.command.variables import ASSIGNMENT, SECRET, Variables, brief

_OPENING = frozenset({"for", "select", "while", "until", "if", "case"})
_INSIDE = frozenset({"do", "then", "else", "elif", "!"})
_CLOSING = frozenset({"done", "fi", "esac", "}"})
_DECLARING = frozenset({"export", "readonly", "declare", "typeset", "local"})
_ASKING = frozenset({"[", "[[", "test", "grep"})
_CHANGING = frozenset({"read", "let", "unset", "mapfile", "readarray"})
_FUNCTION = re.compile(r"[A-Za-z_][\w-]*\(\)")


@dataclass
class Command:
    """One simple command: its words, and the operator that ended it."""

    words: list[str] = field(default_factory=list)
    ended_by: str = ""
    redirected: bool = False
    line: int = 1
    """Where it begins."""
    assigned: dict[str, str] | None = None
    """What it sets, where it does nothing else."""
    exported: bool = False


class Blocks:
    """Follows commands in the order of the text, and says of each whether anything is left of it."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._open: list[str] = []
        self._asked = False
        """Whether the command before decides if this one runs."""
        self.notes: list[str] = []

    def take(self, command: Command) -> bool:
        """Follow a command; False where it is nothing but a part of a loop, a condition or a group."""
        words = command.words
        self._peel(words)
        conditional = self._asked or any(word != "{" for word in self._open)
        if words:
            self._assign(command, sure=not conditional)
        asking = bool(words) and words[0] in _ASKING
        self._variables.sure = not any(word != "{" for word in self._open)
        self._asked = command.ended_by == "||" or (command.ended_by == "&&" and (asking or self._asked))
        self._variables.sure &= not self._asked
        self._variables.asked.clear()
        return bool(words)

    def _peel(self, words: list[str]) -> None:
        """Take away the words of a shell's own grammar, and remember which blocks are open."""
        while words:
            if words[0] in _CLOSING:
                self._open[-1:] = []
                words.clear()
            elif words[0] in _OPENING:
                self._enter(words)
            elif words[0] == "function" or _FUNCTION.fullmatch(words[0]):
                self._open.append("function")
                del words[: 2 if words[0] == "function" else 1]
            elif words[0] == "{":
                self._open += [] if self._open[-1:] == ["function"] else ["{"]
                words.pop(0)
            elif words[0] in _INSIDE or self._is_pattern(words[0]):
                words.pop(0)
            else:
                return

    def _is_pattern(self, word: str) -> bool:
        return word.endswith(")") and not word.startswith("((") and self._open[-1:] == ["case"]

    def _enter(self, words: list[str]) -> None:
        opening = words.pop(0)
        self._open.append(opening)
        note = f"`{opening}` is not followed, since no shell is run: what stands inside is read once"
        self.notes += [note] if note not in self.notes else []
        if opening in ("for", "select") and words:
            self._doubt_each(words)
        if opening in ("for", "select"):
            words.clear()
        elif opening == "case":
            pattern = (index for index, word in enumerate(words) if word.endswith(")"))
            del words[: next(pattern, len(words))]

    def _doubt_each(self, words: list[str]) -> None:
        name, values = words[0], words[2:]
        why = f"${name} takes the values of a loop"
        if values:
            why = f"${name} is each of {brief(' '.join(values))} in turn: submit one job for each"
        self._variables.doubt(name, why)

    def _assign(self, command: Command, *, sure: bool) -> None:
        words = command.words
        if words[0] in _CHANGING or words[0].startswith("(("):
            for name in re.findall(r"[A-Za-z_]\w*", " ".join(words[1:] if words[0] in _CHANGING else words)):
                self._variables.doubt(name, f"what `{words[0][:9]}` makes of ${name} is not known here")
            return
        declares = words[0] in _DECLARING
        parts = [word for word in words[1:] if not word.startswith("-")] if declares else words
        found = [ASSIGNMENT.fullmatch(word) for word in parts]
        if not all(found) and not declares:
            return
        names = [each[1] if each else word for each, word in zip(found, parts, strict=True)]
        entangled = len(names) > 1 and not self._variables.asked.isdisjoint(names)
        for each in found:
            if each and entangled:
                self._variables.doubt(
                    each[1], f"${each[1]} is set beside others in one line that use each other"
                )
            elif each:
                self._set(each[1], each[3], added=bool(each[2]), sure=sure)
        command.exported = words[0] == "export"
        command.assigned = {
            name: value for name in names if (value := self._variables.peek(name)) is not None
        }
        command.assigned |= {each[1]: each[3] for each in found if each and SECRET.search(each[1])}

    def _set(self, name: str, value: str, *, added: bool, sure: bool) -> None:
        if value.startswith("("):
            self._variables.doubt(name, f"${name} is a list, which only a shell takes apart")
        elif sure:
            self._variables.assign(name, value, added=added)
        else:
            self._variables.doubt(name, f"what ${name} is depends on a condition or a loop")
