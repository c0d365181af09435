"""What `GET /` says to who is no browser: how to begin, in twenty lines that work."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from app.domain.visible import one_line
from app.web.browser import is_for_people
from app.web.deps import ServicesDep


class ForPrograms(APIRoute):
    """Lets people by, to the page at the same path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As the path says, unless a page is asked for."""
        return (Match.NONE, {}) if is_for_people(Request(scope)) else super().matches(scope)


router = APIRouter(include_in_schema=False, route_class=ForPrograms)

KEY = ' -H "Authorization: Bearer $EVALQ_TOKEN"'
_TEXT = """\
evalq queues LLM evaluations and runs them on GPUs. A job is what you would have typed after `lm_eval`.
{keys}
In a browser the dashboard is here; {here}/docs lists every call.

# Check and plan a job; nothing is stored. Without ?dry_run=true it is submitted.
curl -s{key} "{here}/v1/jobs?dry_run=true" -H 'Content-Type: application/json' -d '{{"command":
  "lm_eval run --model hf --model_args pretrained=EleutherAI/pythia-14m --tasks arc_easy --limit 10"}}'

# Jobs, newest first; one for people; what happens to it, until it ends; its results and logs.
curl -s{key} "{here}/v1/jobs?limit=10"
ID=$(curl -s{key} "{here}/v1/jobs?limit=1" | sed -n 's/.*"id":"\\([0-9a-f-]*\\)".*/\\1/p')
curl -s{key} {here}/v1/jobs/$ID -H 'Accept: text/plain'
curl -sN{key} {here}/v1/jobs/$ID/events
curl -s{key} {here}/v1/jobs/$ID/results
curl -s{key} {here}/v1/jobs/$ID/logs

# What waits and why; what there is to run on; lm-eval's tasks.
curl -s{key} {here}/v1/queue
curl -s{key} {here}/v1/groups
curl -s{key} "{here}/v1/tasks?search=arc"
"""


@router.get("/", response_class=PlainTextResponse)
def read_start(request: Request, services: ServicesDep) -> str:
    """The cheat sheet, with this service's address as it was asked at."""
    needed = services.keys.needed()
    keys = "Calls need a key: export EVALQ_TOKEN=evq_..." if needed else "Calls need no key."
    here = one_line(str(request.base_url)).rstrip("/")
    return _TEXT.format(keys=keys, key=KEY if needed else "", here=here)
