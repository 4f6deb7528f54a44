import dataclasses

import pytest

from onnxplain.engine.render.wording import (
    aligned,
    heading,
    number,
    quantity,
    short,
    subheading,
    target_name,
    tick_labels,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (9.41234, "9.41"), (-1234.5, "−1,234"), (2.5e-6, "2.5e−6"), (3e9, "3e9"), (1e15, "1e15")],
)
def test_number_keeps_three_digits_and_a_true_minus(value, text):
    assert number(value) == text


def test_aligned_numbers_share_their_decimals():
    assert aligned([-0.23912, 0.0077, 0.0, 1e-6], sign=True) == ["−0.239", "+0.008", "0", "+1e−6"]
    assert aligned([34.2, -11.0]) == ["34.2", "−11.0"]
    assert aligned([12345.6, 2.0]) == ["12,346", "2"]


def test_tick_labels_have_no_more_decimals_than_they_need():
    assert tick_labels([-0.5, 0.0, 0.5]) == ["−0.5", "0", "0.5"]
    assert tick_labels([0.025, 0.05]) == ["0.025", "0.050"]


def test_title_names_method_class_and_score(of_image):
    assert heading(of_image) == "occlusion: Egyptian cat (285), score 9.41"
    assert subheading(of_image) == "baseline score 0.5  ·  2,401 evaluations"


def test_values_have_the_unit_of_the_target(of_image):
    probability = dataclasses.replace(of_image, target="probability:285", score=0.875)
    assert quantity(of_image) == "effect on the logit of Egyptian cat (285)"
    assert quantity(probability) == "effect on the probability of Egyptian cat (285)"
    assert heading(probability) == "occlusion: Egyptian cat (285), probability 0.875"
    assert quantity(dataclasses.replace(of_image, method="rise")) == "mean logit of Egyptian cat (285) while kept"


@pytest.mark.parametrize(
    ("target", "label", "manifest", "name"),
    [
        ("3", "", {}, "class 3"),
        ("top", "", {"target_index": [7]}, "class 7"),
        ("top", "", {}, "the output"),
        ("boxes[0,4]", "", {"target_index": [0, 4]}, "boxes[0,4]"),
        ("tabby", "tabby", {"target_index": [281]}, "tabby (281)"),
        ("top", "8", {"target_index": [8]}, "class 8"),
        ("top", "5", {"target_index": [2]}, "class 5 (2)"),
        ("top", "cat", {"target_index": "hostile"}, "cat"),
    ],
)
def test_target_is_named_as_a_person_knows_it(of_image, target, label, manifest, name):
    assert target_name(dataclasses.replace(of_image, target=target, label=label, manifest=manifest)) == name


def test_long_and_hostile_names_become_one_printable_line():
    assert short("a\n\tb\x1b[31m\u202e") == "a b\\x1b[31m\\u202e"
    whole = "x" * 500 + "end"
    assert short(whole, 20) == "x" * 13 + "…" + "xxxend"
