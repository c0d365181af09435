from math import nan

from app.domain.sample import finite


def test_metrics_keep_only_numbers_that_json_has() -> None:
    assert finite({"acc": 0.5, "f1": nan, "alias": "x"}) == {"acc": 0.5, "f1": None, "alias": "x"}
