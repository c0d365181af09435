"""The parrot backend: it says after its owner whatever it is asked, and needs a perch for every feather."""

from __future__ import annotations

from app.arguments.kinds import one_of, whole
from app.backends.arguments import Arguments, Names
from app.backends.backend import NEUTRAL, Backend, Batching, Shapes
from app.backends.known_arguments import MODEL_ARGS
from app.backends.parallelism import ArgumentNames
from app.backends.remedies import changed
from app.backends.signatures import HOST_SIGNATURES, FailureTexts, sign
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.remedy import Circumstances, Remedy


def moult(engine: EngineSpec, failure: Failure, _: Circumstances) -> Remedy | None:
    """As many feathers as there are perches."""
    perches = failure.facts.get("perches")
    if failure.code is not FailureCode.KV_CACHE_TOO_SMALL or not perches:
        return None
    change = f"feathers {engine.args['feathers']} -> {perches}"
    return Remedy(changed(engine, feathers=perches), change)


BACKEND = Backend(
    name="parrot",
    model_names=("parrot", "parrot-lm"),
    arguments=Arguments(
        kinds={**MODEL_ARGS, "feathers": whole(1, 1000), "beak": one_of("hooked", "straight")},
        model=Names("argument of parrot", frozenset({"feathers", "beak", "echoes"})),
    ),
    neutral=NEUTRAL | {"feathers"},
    parallelism=ArgumentNames(tensor=("wings",), data=("flock",)),
    model_files=False,
    shapes=Shapes.UNBOUNDED,
    batching=Batching(whole=True, grouped="echoes"),
    texts=FailureTexts(
        (
            sign(
                r"only (?P<perches>\d+) perches",
                FailureCode.KV_CACHE_TOO_SMALL,
                "a parrot has room for {perches} feathers",
            ),
            *HOST_SIGNATURES,
        )
    ),
    remedy=moult,
)
