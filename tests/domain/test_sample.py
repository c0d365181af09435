from math import nan

from app.domain.sample import finite, is_correct


def test_a_sample_is_right_or_wrong_by_its_first_plain_metric() -> None:
    assert is_correct({"metrics": ["f1", "acc"], "f1": [0.2, 1], "acc": 1.0}) is True
    assert is_correct({"metrics": ["exact_match"], "exact_match": 0}) is False
    assert is_correct({"metrics": ["word_perplexity"], "word_perplexity": [-3.2, 7]}) is None


def test_metrics_keep_only_numbers_that_json_has() -> None:
    assert finite({"acc": 0.5, "f1": nan, "alias": "x"}) == {"acc": 0.5, "f1": None, "alias": "x"}
