"""The same asked of several: one that refuses keeps no other from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from app.client.calls import Json, UnreachableError
from app.client.exit_codes import CallError


def ask_each(names: Iterable[str], ask: Callable[[str], Json], show: Callable[[list[Json]], None]) -> None:
    """Ask it of each once, show the answers, and then fail for those that refused, with the first one's code.

    A service that is away is not asked again.
    """
    asked = list(dict.fromkeys(names))
    answered: list[Json] = []
    refused: list[CallError] = []
    for name in asked:
        try:
            answered.append(ask(name))
        except CallError as error:
            refused.append(CallError(f"{name}: {error}", error.exit_code) if len(asked) > 1 else error)
            if isinstance(error, UnreachableError):
                break
    if answered or not refused:
        show(answered)
    if refused:
        raise CallError("\n".join(map(str, refused)), refused[0].exit_code)
