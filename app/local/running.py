"""Where the servers of a running `evalq up` are, for commands beside it."""

from __future__ import annotations

from pathlib import Path

from app.local.postgres import running_url as postgres_url
from app.local.valkey import kept_url as valkey_url
from app.settings import Settings


def settings_beside(data: Path | None) -> Settings:
    """Settings that lead to the servers which `evalq up` runs in this folder, unless others are named."""
    settings = Settings(data_dir=data) if data else Settings()
    urls: dict[str, str | None] = {}
    if "database_url" not in settings.model_fields_set:
        urls["database_url"] = postgres_url(settings.data_dir / "postgres")
    if "redis_url" not in settings.model_fields_set:
        urls["redis_url"] = valkey_url(settings.data_dir / "valkey")
    return settings.model_copy(update={name: url for name, url in urls.items() if url})
