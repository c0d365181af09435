"""Requests as trees: what each token sees is its own text, and nothing stands in a tree twice."""

from __future__ import annotations

import random

import pytest

from workers.engine_child.hf.trees import ScoredText, Tree, batches, trees

WIDTH = 64
MOST = 400


def request(place: int, context: list[int], continuation: list[int]) -> ScoredText:
    return ScoredText(place, [*context, *continuation], len(context))


def drawn(seed: int) -> list[ScoredText]:
    """Examples in common, questions, and answers of which some are equal or begin others."""
    rng = random.Random(seed)

    def some(most: int) -> list[int]:
        return [rng.randrange(3) for _ in range(rng.randint(1, most))]

    examples = some(60)
    contexts = [[*(examples if rng.random() < 0.7 else []), *some(20)] for _ in range(12)]
    pairs = [(context, some(9)) for context in contexts for _ in range(rng.randint(1, 5))]
    pairs += pairs[:3] + [(pairs[0][0], [*pairs[0][1], 7])] + [([4] * 30, [letter]) for letter in range(200)]
    rng.shuffle(pairs)
    return [request(place, *pair) for place, pair in enumerate(pairs)]


def seen(tree: Tree, at: int) -> list[int]:
    """The text that a token sees, itself included."""
    return [tree.tokens[other] for other in range(at + 1) if at < tree.ends[other]]


@pytest.mark.parametrize("seed", range(5))
def test_each_scored_token_follows_what_stands_before_it_in_its_request(seed: int) -> None:
    requests = drawn(seed)
    found = trees(requests, WIDTH, MOST)
    assert sorted(place for tree in found for place, _, _ in tree.scored) == list(range(len(requests)))
    for tree in found:
        for place, tokens, before in tree.scored:
            text, start = requests[place].tokens, requests[place].start
            assert tokens == text[start:]
            assert [seen(tree, at) for at in before] == [text[:end] for end in range(start, len(text))]
            assert [tree.depths[at] + 1 for at in before] == list(range(start, len(text)))


def test_no_token_stands_in_a_tree_twice() -> None:
    for tree in trees(drawn(1), WIDTH, MOST):
        texts = [tuple(seen(tree, at)) for at in range(len(tree.tokens))]
        assert len(set(texts)) == len(texts)


def test_letters_of_a_context_take_the_context_alone() -> None:
    (tree,) = trees([request(place, [5] * 30, [place]) for place in range(200)], WIDTH, MOST)
    assert len(tree.tokens) == 30


def test_a_tree_grows_as_far_as_it_pays() -> None:
    examples = [1] * 100
    shots = [request(place, [*examples, place, *[2] * 9], [3]) for place in range(50)]
    bounds = [len(tree.tokens) for tree in trees(shots, WIDTH, 10_000)]
    assert 1 < len(bounds) < 10, "so much that attention would take longer than what is shared"
    assert len(trees(shots, 4096, 10_000)) < len(bounds), "a wider model has less of it"
    alone = [request(place, [place, *[2] * 99], [3]) for place in range(50)]
    assert len(trees(alone, WIDTH, 10_000)) == 50, "nothing is in common"


@pytest.mark.parametrize("most", [1, 40, 100, 1000])
def test_trees_and_batches_hold_no_more_than_they_may(most: int) -> None:
    requests = drawn(2)
    found = trees(requests, WIDTH, most)
    assert all(len(tree.tokens) <= most or len(tree.scored) == 1 for tree in found)
    made = list(batches(found, most))
    assert [tree for batch in made for tree in batch] == found
    assert all(len(batch) * len(batch[0].tokens) <= most for batch in made if len(batch) > 1)
