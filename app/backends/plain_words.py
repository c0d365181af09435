"""An exception's own words, without what libraries wrap them in."""

from __future__ import annotations

import re

_VALIDATION = re.compile(
    r"(?:\w+\.)*ValidationError: \d+ validation errors? for (?P<what>\w+)\n(?P<faults>(?s:.*))"
)
"""As pydantic tells it: a heading, then for each fault its field, and under it what is wrong."""

_LINK = re.compile(r"\n +For further information visit \S+")
_VALUES = re.compile(r" \[type=\w+, input_value=(?P<value>(?s:.*?)), input_type=\w+\]")
_FOR_PEOPLE = "Value error, "

_WORKER = re.compile(
    r"\AException: Call to \w+ method failed: Worker failed with error '(?P<said>(?s:.*))', please check"
)
"""As vLLM tells what one of its processes raised."""

_LIST = re.compile(r"(?P<start>[\[{(][^\[\](){}]{80})[^\[\](){}]{160,}(?P<end>[\])}]|\Z)")
_VERSION_ADVICE = re.compile(r"\s*You can update Transformers with the command.*\Z", re.DOTALL)


def plain(exception: str) -> str:
    """One line: what a check found instead of the check, long lists cut, blanks and line ends as one blank.

    An exception that several checks make up is told by the first of its faults.
    """
    if worker := _WORKER.match(exception):
        return plain(worker["said"])
    found = _VALIDATION.match(exception)
    words = _found(found["what"], found["faults"]) if found else exception
    return _LIST.sub(r"\g<start> ...\g<end>", " ".join(_VERSION_ADVICE.sub("", words).split()))


def _found(what: str, faults: str) -> str:
    """A fault as the ValueError that it is."""
    first = _LINK.split(faults)[0]
    value = _VALUES.search(first)
    told = _VALUES.sub("", first).strip()
    if told.startswith(_FOR_PEOPLE):
        return f"ValueError: {told.removeprefix(_FOR_PEOPLE)}"
    field, _, wrong = told.partition("\n")
    given = f", not {value['value']}" if value else ""
    return f"ValueError: {what}.{field.partition('.')[0]}: {wrong.strip()}{given}"
