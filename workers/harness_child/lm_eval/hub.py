"""Whether an error means that the hub does not answer, and what helps then."""

from __future__ import annotations

from collections.abc import Iterator

from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

HINT = (
    "let this host reach the hub (HF_ENDPOINT names a mirror, HF_HUB_OFFLINE forbids to ask), or name a folder that"
    " has the files"
)
BUSY = 429


def unreachable(error: BaseException) -> bool:
    """Whether this, or what led to it, is that the hub was not asked or did not answer."""
    return any(_is_outage(cause) for cause in _causes(error))


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, HfHubHTTPError):
        status: int = error.response.status_code
        return status >= 500 or status == BUSY
    by_datasets = isinstance(error, ConnectionError) and "on the Hub" in str(error)
    return by_datasets or isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
