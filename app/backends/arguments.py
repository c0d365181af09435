"""Which arguments a backend takes, and what is known to be wrong with them before an engine is asked."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.arguments.kinds import Kind
from app.backends.known_arguments import GEN_KWARGS, MODEL_ARGS, NEVER_NULL

NEAR = 3
ALIKE = 0.75


class Wrong(NamedTuple):
    """An argument, what is wrong with it, and what would be right."""

    name: str
    message: str
    near: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Names:
    """What may be given; `told` says in words why some names may not."""

    what: str
    known: frozenset[str]
    told: Mapping[str, str] = field(default_factory=dict)

    def fault(self, name: str) -> Wrong | None:
        """What is wrong with a name, or None."""
        if name in self.told:
            return Wrong(name, self.told[name])
        if name in self.known:
            return None
        near = tuple(difflib.get_close_matches(name, sorted(self.known), n=NEAR, cutoff=ALIKE))
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        return Wrong(name, f"is no {self.what}{hint}", near or None)


def _none_needed(_: str, __: Any) -> str | None:
    return None


def _none_excluded(_: Mapping[str, Any]) -> Iterator[Wrong]:
    yield from ()


def _no_contradictions(_: Mapping[str, Any], __: bool) -> Iterator[Wrong]:
    yield from ()


@dataclass(frozen=True)
class Arguments:
    """What a backend takes of a job; as it stands, anything."""

    kinds: Mapping[str, Kind] = field(default_factory=lambda: MODEL_ARGS)
    """What values of the model's arguments must be, where anything is known of them."""
    generation_kinds: Mapping[str, Kind] = field(default_factory=lambda: GEN_KWARGS)
    model: Names | None = None
    """Which arguments of the model there are; None: any."""
    generation: Names | None = None
    never_null: frozenset[str] = NEVER_NULL
    """Generation settings for which null is not as good as not given."""
    null_is_named: bool = False
    """Whether a setting that there is not is refused with null, too."""
    model_adds: bool = True
    """Whether a model adds arguments: attributes of its configuration, and with code of its own any."""
    packages: Callable[[str, Any], str | None] = _none_needed
    """The package that an argument of this value needs beyond the ones that are always there."""
    excluded: Callable[[Mapping[str, Any]], Iterator[Wrong]] = _none_excluded
    """Arguments of the model that loading refuses together, or one without the other."""
    contradictions: Callable[[Mapping[str, Any], bool], Iterator[Wrong]] = _no_contradictions
    """Generation settings that no model takes together; the flag says that nothing more is merged into them."""

    def model_faults(
        self, args: Mapping[str, Any], installed: Collection[str], own: Collection[str] = ()
    ) -> Iterator[Wrong]:
        """Names that loading refuses, but for the model's `own`; and what needs a package that is not installed."""
        for name, value in args.items():
            needed = self.packages(name, value)
            if wrong := self.model.fault(name) if self.model and name not in own else None:
                yield wrong
            elif needed and needed not in installed:
                yield Wrong(name, f"needs the package {needed}, which the backend's environment has not")
        yield from self.excluded(args)

    def generation_faults(self, settings: Mapping[str, Any], *, whole: bool) -> Iterator[Wrong]:
        """Names that generation refuses, and values that contradict each other."""
        given = {name: value for name, value in settings.items() if value is not None}
        if self.generation:
            named = settings if self.null_is_named else given
            yield from filter(None, map(self.generation.fault, named))
        yield from self.contradictions(given, whole)
