"""The hub, as this host sees it: where models are described when jobs are posted, and fetched from when they run."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from app.models.hub_client import HubClient, HubRefusedError, HubSilentError
from app.services.doctor.finding import Finding, ok, warning
from app.settings import Settings

PATIENCE_SECONDS = 3.0
MOST_BYTES = 1_000_000
ANYBODY, ACCOUNT = "/api/models?limit=1", "/api/whoami-v2"

UNREACHABLE = "HF_ENDPOINT names a mirror; HF_HUB_OFFLINE=1 says that there is none, and models are folders"


def look_at_hub(settings: Settings) -> list[Finding]:
    """Whether it answers, and to whom; models in folders need none, so nothing of this is a fault."""
    token = settings.hub_token.get_secret_value()
    client = HubClient(settings.hub_endpoint, token, PATIENCE_SECONDS)
    if settings.hub_offline:
        return [ok("hub", f"{client.host} is not asked (HF_HUB_OFFLINE)")]
    try:
        _ask(client, ACCOUNT if token else ANYBODY).result(timeout=PATIENCE_SECONDS)
    except TimeoutError:
        return [warning("hub", f"{client.host}: no answer within {PATIENCE_SECONDS:g} s", UNREACHABLE)]
    except HubSilentError as error:
        advice = (
            "HF_ENDPOINT names a mirror; HF_HUB_OFFLINE=1 says that there is none, and models are folders"
        )
        return [warning("hub", f"{client.host}: {error}", advice)]
    except HubRefusedError as error:
        said = f"{client.host} refuses {'HF_TOKEN' if token else 'to answer'} ({error.status})"
        advice = "give this host a token that is valid there" if token else "HF_ENDPOINT must name a hub"
        return [warning("hub", said, advice)]
    asked = "" if settings.ask_hub else "; posted jobs do not ask it (EVALQ_ASK_HUB)"
    return [ok("hub", f"{client.host} answers {'with' if token else 'without'} a token{asked}")]


def _ask(client: HubClient, path: str) -> Future[bytes]:
    """In a thread that is left behind where a name is not resolved: no bound of the client's holds there."""
    asked: Future[bytes] = Future()

    def ask() -> None:
        try:
            asked.set_result(client.get(path, MOST_BYTES))
        except (HubSilentError, HubRefusedError) as error:
            asked.set_exception(error)

    threading.Thread(target=ask, name="hub", daemon=True).start()
    return asked
