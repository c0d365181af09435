"""What comes of asking the hub for a model, in words: it is private, gated, missing, or not to be had from here."""

from __future__ import annotations

from dataclasses import dataclass

from app.arguments.kinds import shown
from app.domain.model_facts import ModelFacts
from app.domain.visible import one_line
from app.models.hub_client import HubClient, HubRefusedError

FORBIDDEN = (401, 403)
NO_CREDENTIALS_OF_ITS = "Invalid credentials in Authorization header"
"""Of a token that it does not know (huggingface_hub, utils/_http.py)."""
MOST_CODE = 40


@dataclass(frozen=True)
class HubAnswer:
    """What it told: facts, what a user should know, or why there is no such model or revision."""

    facts: ModelFacts | None = None
    notes: tuple[str, ...] = ()
    fault: str | None = None
    revision_fault: str | None = None


def silence(client: HubClient, why: str) -> HubAnswer:
    """Nobody answered: that tells nothing of the model."""
    says = f"the hub ({client.host}) tells nothing of the model: {why}"
    advice = "HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=1 asks nobody"
    return HubAnswer(notes=(f"{says}; the model may be there all the same ({advice})",))


def gated(name: str) -> str:
    """What a worker needs."""
    return f"{name} is gated: workers need the HF_TOKEN of an account that accepted its terms"


def refusal(error: HubRefusedError, name: str, revision: str | None, client: HubClient) -> HubAnswer:
    """A fault only where the hub is sure: who has no token is told of what is private as if it were not there."""
    hub = f"the hub ({client.host})"
    match error.code:
        case "RevisionNotFound":
            return HubAnswer(revision_fault=f"{hub} has no revision {shown(revision)} of {name}")
        case "GatedRepo" if client.token:
            terms = f"accept its terms at {client.host}/{name}"
            return HubAnswer(fault=f"is gated, and HF_TOKEN's account may not read it: {terms}")
        case "RepoNotFound" if client.token:
            return HubAnswer(fault=f"{hub} has no model {name}, or not for the account of HF_TOKEN")
    return HubAnswer(notes=(_note(error, name, hub),))


def _note(error: HubRefusedError, name: str, hub: str) -> str:
    if error.message == NO_CREDENTIALS_OF_ITS:
        return f"{hub} does not accept this host's HF_TOKEN"
    if error.code == "GatedRepo":
        return gated(name)
    if error.code == "RepoNotFound" or error.status in FORBIDDEN:
        return f"{hub} shows no model {name}: there is none, or it is private (HF_TOKEN)"
    return f"{hub} refuses to tell of {name} ({error.status} {one_line(error.code[:MOST_CODE])})"
