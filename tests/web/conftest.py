"""The API in process, as tests/api has it: what is shared is tried through who shares it."""

from tests.api.conftest import api, app, coordinator, job_id

__all__ = ["api", "app", "coordinator", "job_id"]
