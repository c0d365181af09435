"""Who may call what: keys, roles, and browsers that were sent here from elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from app.domain.keys import ANONYMOUS, Key, Role
from app.errors import CrossSiteError, ForbiddenError, UnauthenticatedError
from app.services.keys import is_address, is_loopback
from app.settings import Settings
from app.web.browser import is_for_people, sign_in_of
from app.web.deps import Services, ServicesDep

OPEN = frozenset({"/", "/healthz", "/readyz", "/docs", "/sign-in", "/static/{tag}/{name:path}"})
START = "/"
"""Open as a text for programs; to people it shows jobs."""
SUBMITTERS = ("/v1/jobs", "/jobs", "/submit")
"""Below these, changes are a submitter's."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "evq_...",
    "description": "A key made by `evalq keys create`. Not needed on a loopback address while there are no keys.",
}
NO_KEY = (
    "this service needs a key: send it as `Authorization: Bearer evq_...` (the evalq command takes it from"
    " EVALQ_TOKEN); an operator makes one with `evalq keys create`"
)
NO_SUCH_KEY = "this key is unknown, has expired or was revoked: ask an operator for a new one"


def needed_role(method: str, path: str) -> Role | None:
    """The role that a call needs, by its path as routers write it; None where no key is asked for.

    What is not thought of here needs the most: only the changes a submitter may make are listed.
    """
    if path in OPEN:
        return None
    if method in SAFE or path in {"/v1/comparisons", "/sign-out"}:
        return Role.VIEWER
    return Role.SUBMITTER if path.startswith(SUBMITTERS) else Role.OPERATOR


async def authenticate(request: Request, services: ServicesDep) -> None:
    """Runs before everything else of a call; says in `request.state` who asks.

    As `caller`, `key_id`, and `sign_in` where a browser asks for somebody who signed in.
    """
    if cross_site(request.method, request.headers, services.settings.cors_origins):
        raise CrossSiteError("a browser sent this from a page of another site: use this service's own pages")
    path = request.scope["route"].path
    needed = Role.VIEWER if path == START and is_for_people(request) else needed_role(request.method, path)
    if needed is None:
        return
    by_cookie = request.method in SAFE or not path.startswith("/v1/")
    key = await admission(services, request.headers, by_cookie=by_cookie)
    if key is not None and services.rates.counts:
        await run_in_threadpool(services.rates.count, key.id)
    caller = key.caller if key else ANONYMOUS
    if not caller.role.permits(needed):
        raise ForbiddenError(
            f"{request.method} {path} needs a key with role {needed}; {caller.name} is a {caller.role}"
        )
    request.state.caller = caller
    request.state.key_id = key.id if key else None
    by_key = key is None or "authorization" in request.headers
    request.state.sign_in = None if by_key else sign_in_of(request.headers)


async def admission(services: Services, headers: Mapping[str, str], *, by_cookie: bool = True) -> Key | None:
    """As `admitted`, in a thread only where memory does not hold the answer: a thread's turn is dear under load."""
    if services.keys.at_hand(headers.get("authorization", "").partition(" ")[2].strip()):
        return admitted(services, headers, by_cookie=by_cookie)
    return await run_in_threadpool(admitted, services, headers, by_cookie=by_cookie)


def admitted(services: Services, headers: Mapping[str, str], *, by_cookie: bool = True) -> Key | None:
    """Whose key was sent, or whose sign-in; None where there are no keys and only this machine can call.

    Changes over the API need the key itself: a browser sends a sign-in by itself, and those calls ask for no token.
    """
    settings = services.settings
    if not services.keys.needed() and (is_loopback(settings.host) or settings.allow_unauthenticated):
        if not own_name(headers.get("host", ""), settings):
            raise CrossSiteError(
                "without keys this service answers to localhost, to addresses and to EVALQ_HOST_NAMES only:"
                " any page in a browser near it could call it under a name of its own"
            )
        return None
    if by_cookie and "authorization" not in headers and (cookie := sign_in_of(headers)):
        return _signed_in(services, cookie)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError(NO_KEY)
    key = services.keys.holder(token.strip())
    if key is None:
        raise UnauthenticatedError(NO_SUCH_KEY)
    return key


def _signed_in(services: Services, cookie: str) -> Key:
    key = services.sign_ins.holder(cookie)
    if key is None:
        raise UnauthenticatedError("this sign-in has ended: sign in again")
    return key


def cross_site(method: str, headers: Mapping[str, str], allowed: Collection[str] = ()) -> bool:
    """Whether a browser was made to send a change by another site's page, none of those that an operator allows.

    Programs send neither header; a page cannot change what its browser says of it.
    """
    if method in SAFE:
        return False
    if headers.get("origin", "").lower() in allowed:
        return False
    if site := headers.get("sec-fetch-site"):
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()


def own_name(host: str, settings: Settings) -> bool:
    """Whether a Host header is none that a stranger's page can have.

    A page whose name was bound to our address after it was loaded (DNS rebinding) sends that name.
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    known = {"localhost", settings.host.lower(), *(each.lower() for each in settings.host_names)}
    return name.lower() in known or "*" in known or is_address(name)
