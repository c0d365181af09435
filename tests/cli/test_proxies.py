"""Who the client is: forwarded headers are believed from the operator's proxies only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import uvicorn
from pydantic import ValidationError

from app.cli.parts import uvicorn_options
from app.settings import Settings

FORWARDED = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}


def seen(settings: Settings, peer: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """The client's address and the scheme, as the API learns them of a request from `peer`."""
    found: list[tuple[str, str]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        found.append((scope["client"][0], scope["scheme"]))

    config = uvicorn.Config(app, **uvicorn_options(settings) | {"log_config": None})
    config.load()
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": (peer, 5), "scheme": "http", "headers": encoded}
    loaded: Any = config.loaded_app
    asyncio.run(loaded(scope, None, None))
    return found[0]


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "10.0.0.1", "203.0.113.1"])
def test_by_itself_nobody_is_believed(monkeypatch: pytest.MonkeyPatch, peer: str) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert seen(Settings(), peer, FORWARDED) == (peer, "http")


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("10.0.0.1", "203.0.113.9"),
        ("192.0.2.77", "203.0.113.9"),
        ("10.0.0.2", "10.0.0.2"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_proxy_of_the_operators_is_believed(
    monkeypatch: pytest.MonkeyPatch, peer: str, client: str
) -> None:
    monkeypatch.setenv("EVALQ_TRUSTED_PROXIES", "10.0.0.1, 192.0.2.0/24")
    assert seen(Settings(), peer, FORWARDED)[0] == client


def test_what_a_client_forwards_itself_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALQ_TRUSTED_PROXIES", "10.0.0.1")
    headers = {"x-forwarded-for": "127.0.0.1, 203.0.113.9"}
    assert seen(Settings(), "10.0.0.1", headers)[0] == "203.0.113.9"


@pytest.mark.parametrize("places", ["proxy.internal", "*", "10.0.0.1/8", "10.0.0"])
def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, places: str) -> None:
    monkeypatch.setenv("EVALQ_TRUSTED_PROXIES", places)
    with pytest.raises(ValidationError, match="trusted_proxies"):
        Settings()
