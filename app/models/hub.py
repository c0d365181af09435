"""What the hub says of a model when a job is posted: nobody waits for it long, and it is asked once for many."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import SecretStr

from app.models.hub_answer import FORBIDDEN, HubAnswer, gated, refusal, silence
from app.models.hub_client import HubClient, HubRefusedError, HubSilentError
from app.models.hub_facts import file_names, hub_facts
from app.models.json_file import NoJsonObjectError, object_in
from app.settings import Settings

PATIENCE_SECONDS = 2.0
"""Of one job that is posted; an answer that comes later serves the next."""
FRESH_SECONDS = 300.0
"""A branch may move on, a repository appear."""
SILENT_SECONDS = 60.0
"""After no answer nobody waits for so long."""
MOST_KEPT = 200
MOST_CONFIG_BYTES = 1_000_000
MOST_INFO_BYTES = 20_000_000
"""A repository of ten thousand files has a list of 5 MB."""

Key = tuple[str, str | None]
log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")


class Hub:
    """Remembers answers for minutes, and configurations of a commit for good; every thread may ask."""

    def __init__(self, client: HubClient, *, now: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._now = now
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[float, HubAnswer]] = OrderedDict()
        self._configs: OrderedDict[tuple[str, str], Mapping[str, Any]] = OrderedDict()
        self._asked: dict[Key, Future[HubAnswer]] = {}
        self._silence = ""
        self._silent_until = float("-inf")

    def look_up(self, name: str, revision: str | None, patience: float = PATIENCE_SECONDS) -> HubAnswer:
        """Its answer, within `patience`; where there is none, what it said before, or that there is none."""
        key = (name, revision)
        with self._lock:
            at, before = self._kept.get(key, (float("-inf"), None))
            if before and self._now() - at < FRESH_SECONDS:
                return before
            if self._now() < self._silent_until:
                return before or silence(self._client, self._silence)
            asked = self._asked.get(key) or self._ask(key)
        try:
            return asked.result(timeout=patience)
        except HubSilentError as error:
            return self._fall_silent(before, str(error))
        except TimeoutError:
            return self._fall_silent(before, f"it did not answer within {patience:g} s")

    def _ask(self, key: Key) -> Future[HubAnswer]:
        """In a thread of its own, which is left behind where a name is not resolved, or a server hangs."""
        asked = self._asked[key] = Future()
        threading.Thread(target=self._answer, args=(key, asked), name="hub", daemon=True).start()
        return asked

    def _answer(self, key: Key, asked: Future[HubAnswer]) -> None:
        try:
            answer = self._told(*key)
            with self._lock:
                _keep(self._kept, key, (self._now(), answer))
                self._silent_until = float("-inf")
            asked.set_result(answer)
        except HubSilentError as error:
            asked.set_exception(error)
        except Exception as error:
            log.exception("an answer of the hub is not understood")
            asked.set_exception(HubSilentError(f"its answer is not understood ({type(error).__name__})"))
        finally:
            with self._lock:
                del self._asked[key]

    def _fall_silent(self, before: HubAnswer | None, why: str) -> HubAnswer:
        with self._lock:
            self._silence, self._silent_until = why, self._now() + SILENT_SECONDS
            return before or silence(self._client, self._silence)

    def _told(self, name: str, revision: str | None) -> HubAnswer:
        at = f"/revision/{quote(revision, safe='')}" if revision else ""
        try:
            info = self._object(f"/api/models/{name}{at}?blobs=true", MOST_INFO_BYTES)
            config = self._config(name, info)
        except HubRefusedError as error:
            return refusal(error, name, revision, self._client)
        notes = (f"{name} is private on the hub",) if info.get("private") is True else ()
        if info.get("gated") in ("auto", "manual"):
            notes = (*notes, gated(name))
        return HubAnswer(hub_facts(name, info, config, f"the hub ({self._client.host})"), notes)

    def _config(self, name: str, info: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """None where it has none that can be read, or shows it to those alone who accepted its terms."""
        sha = info.get("sha")
        if not isinstance(sha, str) or "config.json" not in file_names(info):
            return None
        with self._lock:
            if (name, sha) in self._configs:
                return self._configs[name, sha]
        try:
            text = self._client.get(f"/{name}/resolve/{quote(sha, safe='')}/config.json", MOST_CONFIG_BYTES)
            config = object_in(text)
        except NoJsonObjectError:
            return None
        except HubRefusedError as error:
            if error.status in FORBIDDEN and self._client.token:
                raise
            return None
        with self._lock:
            _keep(self._configs, (name, sha), config)
        return config

    def _object(self, path: str, most_bytes: int) -> dict[str, Any]:
        try:
            return object_in(self._client.get(path, most_bytes))
        except NoJsonObjectError:
            raise HubSilentError("what answers there is no hub") from None


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    """The newest at the end; the oldest goes."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > MOST_KEPT:
        kept.popitem(last=False)


def ask_hub(settings: Settings, name: str, revision: str | None) -> HubAnswer:
    """What it tells of a model of this name; nothing where the operator does not want it asked."""
    if settings.hub_offline or not settings.ask_hub:
        return HubAnswer()
    return _hub(settings.hub_endpoint, settings.hub_token).look_up(name, revision)


@lru_cache(maxsize=16)
def _hub(endpoint: str, token: SecretStr) -> Hub:
    return Hub(HubClient(endpoint, token.get_secret_value()))
