"""What a secret looks like, in a name and in a text, and the text without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_NAMED = (
    r"[A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD)"
    r"|(?i:\w*(?:api[-_]?key|access[-_]?key(?:[-_]id)?|private[-_]?key|passwd|password|client_secret|secret_key))"
    r"|(?i:(?:hf|hub|auth|access|refresh|bearer|session)_token)"
)
_SECRETS = (
    (re.compile(r"hf_[A-Za-z0-9]{16,}"), "hf_***"),
    (re.compile(r"evq_[A-Za-z0-9_-]{8,}"), "evq_***"),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"), "sk-***"),
    (re.compile(r"\b(gh[oprsu]_|github_pat_|glpat-|xox[abeprs]-|nvapi-)[A-Za-z0-9_-]{16,}"), r"\1***"),
    (re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"), r"\1***"),
    (re.compile(r"(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), "eyJ***"),
    (
        re.compile(r"\b(Bearer|Authorization['\"]?[=:][ '\"]*Basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE),
        r"\1 ***",
    ),
    (re.compile(r"\b(\w{1,30}://[^\s:/@]{0,256}:)\S{1,256}@"), r"\1***@"),
    (
        re.compile(rf"\b({_NAMED})(['\"]?[ \t]*[=:][ \t]*['\"]?)(?!(?:None|True|False|null)\b)[^\s'\",}}&]+"),
        r"\1\2***",
    ),
    (re.compile(r"([?&](?:token|key|sig|signature|X-Amz-\w+)=)[^\s&'\"]+", re.IGNORECASE), r"\1***"),
)
"""Each takes time linear in the text, whatever the text: anything that is posted goes through them."""
_UNMISTAKABLE = re.compile(
    r"hf_[A-Za-z0-9]{30,}|evq_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])|\bgh[oprsu]_[A-Za-z0-9]{36}|\bAKIA[A-Z0-9]{16}\b"
    r"|\b\w{1,30}://[^\s:/@]{0,256}:[^\s/]{1,256}@"
)
"""Only what nobody writes by chance: a prompt may well hold `sk-learn-...` or `TOKEN=`."""
_PIECE = 65_536
_LONGEST = 1024
"""More characters than the longest of these has, with what stands around it."""
_NAMES = re.compile(
    r"(?:^|_)(?:api_?key|access_?key|private_?key|secret|passw(?:or)?d|credentials?)(?:_|$)"
    r"|^(?:(?:hf|hub|use_auth|auth|access|huggingface|hugging_face_hub|bearer)_)?token$",
    re.IGNORECASE,
)
"""Names that hold credentials. Not `add_bos_token` and its like, which are settings of a tokenizer."""


def redact(text: str) -> str:
    """The text with tokens, keys and passwords replaced by asterisks."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def redacted(value: Any) -> Any:
    """A document with every text in it redacted."""
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {key: redacted(item) for key, item in value.items()}
        case list() | tuple():
            return [redacted(item) for item in value]
        case _:
            return value


def _is_switch(value: Any) -> bool:
    """`use_auth_token=True` holds no token, and `token=None` neither."""
    return value is None or isinstance(value, bool) or value == ""


def secrets_in(value: Any, path: str) -> Iterator[str]:
    """Paths at which a document holds a credential, by its name or by what it looks like; names may be one, too.

    Paths are written where they are needed only: a body has a hundred thousand parts.
    """
    if isinstance(value, str) and _is_secret(value):
        yield path
    named = isinstance(value, Mapping)
    for step, item in value.items() if named else enumerate(value) if isinstance(value, list | tuple) else ():
        if named and _names_secret(str(step), item):
            yield _below(path, step)
        elif isinstance(item, Mapping | list | tuple):
            yield from secrets_in(item, _below(path, step))
        elif isinstance(item, str) and _is_secret(item):
            yield _below(path, step)


def _names_secret(name: str, value: Any) -> bool:
    return _is_secret(name) or (_NAMES.search(name) is not None and not _is_switch(value))


def _below(path: str, step: object) -> str:
    return f"{path}.{redact(str(step))}" if path else redact(str(step))


def _is_secret(text: str) -> bool:
    """Looked for piece by piece: a search holds every other thread of the process until it is over."""
    pieces = (text[at : at + _PIECE + _LONGEST] for at in range(0, len(text), _PIECE))
    return any(_UNMISTAKABLE.search(piece) for piece in pieces)
