"""Prints the measures of the house: python -m tests.house [TREE], of this tree or of another checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median, quantiles

from . import measures
from .source import File, body_lines, files, nesting

ROOT = Path(__file__).parents[2]


def main(root: Path) -> None:
    source, tests = files(root, "app", "workers"), files(root, "tests")
    sys.stdout.writelines(f"{name:42}{value}\n" for name, value in rows(source, tests))


def rows(source: list[File], tests: list[File]) -> list[tuple[str, str]]:
    """What is measured, and what came out."""
    compared = measures.backend_comparisons(source)
    filled = [sum(file.filled_lines for file in part) for part in (source, tests)]
    loose = measures.open_dictionaries(source)
    twice = measures.double_names(source)
    return [
        ("look-ups of frames by a text", str(len(measures.frame_lookups(source)))),
        ("messages written as dictionaries", str(len(measures.untyped_messages(source)))),
        ("look-ups of specs by a text", str(len(measures.spec_lookups(source)))),
        ("files that compare a backend's name", str(len({place.split(":")[0] for place in compared}))),
        ("comparisons with a backend's name", str(len(compared))),
        (
            "dict[str, Any], and per 1,000 lines",
            f"{loose}, {loose / sum(f.lines for f in source) * 1000:.1f}",
        ),
        ("classes of one name in several modules", f"{len(twice)}: {', '.join(twice)}"),
        ("longest files", _longest(source)),
        ("longest files of tests", _longest(tests)),
        *_bodies(source),
        ("filled lines of source and tests, ratio", f"{filled[0]}, {filled[1]}, {filled[1] / filled[0]:.3f}"),
    ]


def _longest(source: list[File]) -> str:
    found = sorted(source, key=lambda file: -file.lines)[:3]
    return ", ".join(f"{file.lines} {file.path}" for file in found)


def _bodies(source: list[File]) -> list[tuple[str, str]]:
    functions = [
        (body_lines(function), nesting(function), file, function)
        for file in source
        for function in file.functions()
    ]
    sizes, depths = [each[0] for each in functions], [each[1] for each in functions]
    length, _, file, function = max(functions, key=lambda each: each[0])
    return [
        ("bodies: median, p95, longest", f"{median(sizes):.0f}, {quantiles(sizes, n=20)[-1]:.0f}, {length}"),
        ("the longest body", f"{file.path}:{function.lineno} {function.name}"),
        ("nesting: p95, deepest", f"{quantiles(depths, n=20)[-1]:.0f}, {max(depths)}"),
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT)
