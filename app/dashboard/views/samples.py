"""A line of lm-eval's samples as a page shows it: prompt, target, answers, or choices with their log-likelihoods."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from app.dashboard.words import number, seen
from app.domain.output import Sample, SampleCounts, SampleFilter

TAIL = 4000
"""Characters of a prompt that are shown at once: a question stands behind its examples."""
MOST_TEXT = 20_000
"""Of any text, unless all of it is asked for."""
MOST_WHOLE = 1_000_000
"""Of any text all the same: a longer one is read as JSON."""
MOST_ANSWERS = 2_000_000
"""Of all answers to a document together."""
MOST_LINE = 160
MOST_CHOICES = 200
MOST_MARKS = 50
TABS = (
    (SampleFilter.ALL, "All", None),
    (SampleFilter.CORRECT, "Correct", "succeeded"),
    (SampleFilter.INCORRECT, "Incorrect", "failed"),
    (SampleFilter.ERROR, "Error", "warning"),
    (SampleFilter.TRUNCATED, "Truncated", "moved"),
    (SampleFilter.EMPTY, "Empty", "empty"),
)


@dataclass(frozen=True)
class SampleTab:
    """A filter, and how many documents it lets through, in words."""

    which: SampleFilter
    word: str
    icon: str | None
    count: str


@dataclass(frozen=True)
class Choice:
    """A continuation that was scored."""

    text: str
    log_likelihood: float | None
    width: float
    """Of its bar, in percent: the lowest of the choices has none."""
    share: float | None
    chosen: bool
    target: bool
    greedy: bool


@dataclass(frozen=True)
class Text:
    """A text, or as much of it as is shown."""

    shown: str
    before: str
    """What stands before it, as far as that is shown."""
    length: int
    cut: bool


@dataclass(frozen=True)
class SampleShown:
    """A document with what was asked and what was answered."""

    position: int
    doc_id: str
    line: str
    verdicts: Sequence[tuple[str, str]]
    filter: str
    prompt: Text
    target: Text
    raw: Sequence[Text]
    filtered: Sequence[Text]
    choices: Sequence[Choice]
    lowest: float
    metrics: Sequence[tuple[str, str]]
    error: str


def tabs_of(counts: SampleCounts | None) -> list[SampleTab]:
    """Each filter; with how many it lets through, where that is known."""
    more = "+" if counts and counts.bounded else ""
    return [
        SampleTab(which, word, icon, f"{number(counts.by_filter[which])}{more}" if counts else "")
        for which, word, icon in TABS
    ]


def sample_shown(sample: Sample, *, whole: bool = False) -> SampleShown:
    """What a page places of it; of a long text the beginning, unless all is asked for."""
    row = _mapping(_parsed(sample.row))
    asked = _asked(row.get("arguments"))
    target = _text(row.get("target"))
    choices = _choices(asked, _list(row.get("filtered_resps")), target)
    prompt = asked[0][0] if asked and asked[0] else ""
    raw = [] if choices else [_text(each) for group in _list(row.get("resps")) for each in _list(group)]
    filtered = [] if choices else [_text(each) for each in _list(row.get("filtered_resps"))]
    name = _text(row.get("filter"))
    error = _mapping(row.get("evalq_error"))
    finite = [each.log_likelihood for each in choices if each.log_likelihood is not None]
    return SampleShown(
        position=sample.position,
        doc_id=_text(row.get("doc_id"))[:50],
        line=_line(row.get("doc"), prompt),
        verdicts=verdicts(sample, failed=bool(error)),
        filter="" if name == "none" else name,
        prompt=_end(prompt, whole=whole),
        target=_start(target, whole=whole),
        raw=_starts(raw, whole=whole),
        filtered=_starts(filtered, whole=whole),
        choices=choices,
        lowest=min(finite, default=0.0),
        metrics=[(_text(each), _text(row.get(each))) for each in map(_text, _list(row.get("metrics")))],
        error=f"{_text(error.get('code'))}: {_text(error.get('message'))}" if error else "",
    )


def verdicts(sample: Sample, *, failed: bool) -> list[tuple[str, str]]:
    """States of a line in icon and word, the first one its own."""
    first = {True: ("succeeded", "Correct"), False: ("failed", "Incorrect"), None: ("queued", "No verdict")}
    found = [("failed", "Error") if failed else first[sample.correct]]
    found += [("warning", "Truncated")] if sample.truncated else []
    return found + ([("warning", "Empty")] if sample.empty else [])


def marked(text: str, taken: Sequence[str]) -> Markup:
    """A raw answer, with what its filter took of it marked wherever it stands; nothing where it took all."""
    part = next((each for each in taken if each.strip() and each != text and each in text), None)
    if part is None:
        return seen(text)
    pieces = text.split(part, MOST_MARKS)
    mark = Markup("<mark>{}</mark>").format(seen(part))
    return mark.join(map(seen, pieces))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case None:
            return ""
        case _:
            return json.dumps(value, ensure_ascii=False)


def _asked(arguments: Any) -> list[list[str]]:
    """Requests in order, each with its parts as text; lm-eval writes them with names, or as lists."""
    asked = list(arguments.values()) if isinstance(arguments, Mapping) else _list(arguments)
    parts = ([*each.values()] if isinstance(each, Mapping) else each for each in asked)
    return [[_text(part) for part in (each if isinstance(each, list) else [each])] for each in parts if each]


def _choices(asked: Sequence[Sequence[str]], answers: Sequence[Any], target: str) -> list[Choice]:
    """Empty unless every answer is a log-likelihood with whether it is greedy."""
    pairs = [_pair(each) for each in answers]
    if not pairs or len(pairs) != len(asked) or not all(len(each) > 1 for each in asked) or None in pairs:
        return []
    values = [each[0] for each in pairs if each]
    finite = [each for each in values if each is not None]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    whole = sum(math.exp(each - high) for each in finite)
    texts = [each[1] for each in asked]
    right = _target_of(texts, target)
    return [
        Choice(
            text=texts[at],
            log_likelihood=value,
            width=_width(value, low, high),
            share=None if value is None or len(pairs) < 2 else 100 * math.exp(value - high) / whole,
            chosen=len(pairs) > 1 and value is not None and at == values.index(high),
            target=at == right,
            greedy=bool(pair and pair[1]),
        )
        for at, (value, pair) in enumerate(zip(values, pairs, strict=True))
    ][:MOST_CHOICES]


def _pair(answer: Any) -> tuple[float | None, bool] | None:
    if not isinstance(answer, list) or len(answer) != 2 or str(answer[1]) not in {"True", "False"}:
        return None
    try:
        value = float(answer[0])
    except (TypeError, ValueError, OverflowError):
        return None
    return (value if math.isfinite(value) else None), str(answer[1]) == "True"


def _width(value: float | None, low: float, high: float) -> float:
    if value is None:
        return 0.0
    return 100.0 if low == high else round(4 + 96 * (value - low) / (high - low), 1)


def _target_of(texts: Sequence[str], target: str) -> int | None:
    """The place of the target: tasks tell it as a number, or as the text."""
    if len(texts) < 2:
        return None
    same = [at for at, text in enumerate(texts) if text.strip() == target.strip()]
    if same:
        return same[0]
    digits = target.isascii() and target.isdigit() and len(target) < 6
    return int(target) if digits and int(target) < len(texts) else None


def _line(doc: Any, prompt: str) -> str:
    """What tells a document from others, in a line."""
    texts = (each for each in _mapping(doc).values() if isinstance(each, str) and len(each) > 8)
    return " ".join((next(texts, None) or prompt[-MOST_LINE:])[: 4 * MOST_LINE].split())[:MOST_LINE]


def _starts(texts: Sequence[str], *, whole: bool) -> list[Text]:
    """Of so many that it would be too much, each less."""
    most = MOST_ANSWERS // max(1, min(len(texts), MOST_CHOICES))
    return [_start(each[:most], len(each), whole=whole) for each in texts[:MOST_CHOICES]]


def _start(text: str, length: int | None = None, *, whole: bool) -> Text:
    length = len(text) if length is None else length
    shown = text[: MOST_WHOLE if whole else MOST_TEXT]
    return Text(shown, "", length, len(shown) < length)


def _end(text: str, *, whole: bool) -> Text:
    """The last characters, from the beginning of a line or a word where there is one near."""
    at = max(0, len(text) - TAIL)
    near = next(
        (place for place in (text.find("\n\n", at), text.find("\n", at)) if at and 0 <= place < at + 1000), -1
    )
    at = near + 1 if near >= 0 else at
    head = text[max(0, at - (MOST_WHOLE if whole else MOST_TEXT)) : at]
    return Text(text[at:], head, len(text), len(head) < at)
