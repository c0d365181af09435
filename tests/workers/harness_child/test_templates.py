from __future__ import annotations

import jinja2
import lm_eval.utils
import pytest

from workers.harness_child.lm_eval.templates import apply_template

DOC = {"a": "x\n", "n": 3, "list": [1, 2]}


@pytest.mark.parametrize(
    "template",
    ["{{a}}", "{{a}}\n", "{% for i in list %}{{i}},{% endfor %}", "{{a|regex_replace('x', 'y')}}", "{{n}}"],
)
def test_a_cached_template_renders_as_lm_eval_does(template: str) -> None:
    expected = lm_eval.utils.env.from_string(template).render(**DOC)

    assert [apply_template(template, DOC) for _ in range(2)] == [expected, expected]


def test_a_missing_field_is_an_error_as_in_lm_eval() -> None:
    with pytest.raises(jinja2.UndefinedError):
        apply_template("{{absent}}", DOC)
