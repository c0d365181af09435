"""What the OpenAPI document promises, tried with generated requests against the whole service."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import one_of
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.main import create_app
from app.settings import Settings
from tests.api.conftest import Coordinator

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 10
EXAMPLES_OF_JOBS = 60


@pytest.fixture
def whole(app: FastAPI, settings: Settings) -> FastAPI:
    """The API with nothing stood in for."""
    return create_app(settings)


@pytest.fixture
def document(whole: FastAPI, api: TestClient, job_id: str, coordinator: Coordinator) -> BaseSchema:
    """The document; every other job id is that of a finished job."""
    coordinator.finish(job_id)
    schema = schemathesis.openapi.from_asgi("/openapi.json", whole)
    turns = cycle((True, False))

    @schema.hook
    def map_path_parameters(_: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        if path_parameters and "job_id" in path_parameters and next(turns):
            path_parameters["job_id"] = job_id
        return path_parameters

    return schema


def deletes_last(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    return operation.method == "delete"


def test_answers_are_as_documented(document: BaseSchema) -> None:
    """The same requests at every run: right ones, and ones that break the document."""
    operations = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 20
    for operation in sorted(operations, key=deletes_last):
        right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

        @settings(
            max_examples=EXAMPLES_OF_JOBS if operation.path == "/v1/jobs" else EXAMPLES,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=one_of(right, wrong))
        def answers(case: Case[APIOperation[Any, Any, Any, Any]]) -> None:
            case.call_and_validate(checks=CHECKS)

        answers()
