"""The hub over HTTP, by the paths of huggingface_hub: an answer within seconds and bounds, a refusal, or silence."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:  # what only plans and counts needs no client in memory
    import httpx

MOST_REDIRECTS = 5
TOO_LARGE = 413
"""What is longer than any such answer is as good as refused."""


class HubRefusedError(Exception):
    """The hub answered that it does not give this; `code` is its `X-Error-Code`, such as GatedRepo."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.code = code
        self.message = message


class HubSilentError(Exception):
    """Nobody answered as a hub does; it says how. Of the model this tells nothing."""


@dataclass(frozen=True)
class HubClient:
    """Asks as one account, or as anybody where the token is empty."""

    endpoint: str
    token: str = ""
    seconds: float = 10.0
    """For one question; whoever cannot wait so long leaves earlier."""

    @property
    def host(self) -> str:
        """Whom it asks, without what an address may hold beside it."""
        try:
            found = urlsplit(self.endpoint)
            port = found.port
        except ValueError:
            return "no address"
        return f"{found.hostname or 'no host'}{f':{port}' if port else ''}"

    def get(self, path: str, most_bytes: int) -> bytes:
        """What stands there; HubRefusedError or HubSilentError. The token goes to nobody whom the hub names instead."""
        import httpx

        until = time.monotonic() + self.seconds
        headers = {"Accept-Encoding": "identity", "User-Agent": "evalq"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            with (
                httpx.Client(
                    headers=headers,
                    timeout=self.seconds,
                    follow_redirects=True,
                    max_redirects=MOST_REDIRECTS,
                    verify=_trusted(),
                ) as client,
                client.stream("GET", f"{self.endpoint}{path}") as response,
            ):
                return _read(response, most_bytes, until)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise HubSilentError(_in_words(error)) from None


@cache
def _trusted() -> ssl.SSLContext:
    """Authorities as the environment has them; they take long to read."""
    import httpx

    return httpx.create_ssl_context()


def _read(response: httpx.Response, most_bytes: int, until: float) -> bytes:
    status, headers = response.status_code, response.headers
    if 400 <= status < 500 and status not in (408, 429):
        raise HubRefusedError(status, headers.get("X-Error-Code", ""), headers.get("X-Error-Message", ""))
    if not response.is_success:
        raise HubSilentError(f"it answers {status}")
    found = bytearray()
    for part in response.iter_raw():
        found += part
        if len(found) > most_bytes:
            raise HubRefusedError(TOO_LARGE)
        if time.monotonic() > until:
            raise HubSilentError("its answer has no end")
    return bytes(found)


def _in_words(error: Exception) -> str:
    """Without the address, which may hold credentials."""
    import httpx

    match error:
        case httpx.TimeoutException():
            return "it does not answer in time"
        case httpx.ConnectError():
            return "nobody answers there"
        case _:
            return f"it cannot be asked ({type(error).__name__})"
