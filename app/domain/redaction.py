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
    """Paths at which a document holds a credential, by its name or by what it looks like; names may be one, too."""
    match value:
        case str() if _UNMISTAKABLE.search(value):
            yield path
        case Mapping():
            for key, item in value.items():
                below = f"{path}.{redact(str(key))}" if path else redact(str(key))
                if _UNMISTAKABLE.search(str(key)) or (_NAMES.search(str(key)) and not _is_switch(item)):
                    yield below
                else:
                    yield from secrets_in(item, below)
        case list() | tuple():
            for index, item in enumerate(value):
                yield from secrets_in(item, f"{path}.{index}")
