"""Missing values and unknown categories: taken where the model knows them, refused by name where it does not."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import InputError
from onnxplain.engine import graph
from small_graphs import affine, model_of
from table_graphs import CITIES, COLOURS, contributions, lightgbm_like, pipeline, probabilities, xgboost_like

FLOAT = TensorProto.FLOAT
NAN = np.nan
REFERENCE = {"age": 40.0, "visits": 4, "colour": "blue", "city": "Lima"}
HOLES = np.array([[NAN, 5, 1], [1, NAN, 9], [NAN, NAN, NAN], [3, 2, 5]], dtype=np.float32)


def load(proto, **spec):
    return onnxplain.load(proto.SerializeToString(), **spec)


def row(age=50.0, visits=6, colour="red", city="Oslo"):
    return {
        "age": np.array([[age]], np.float32),
        "visits": np.array([[visits]]),
        "colour": np.array([[colour]], dtype=object),
        "city": np.array([[city]], dtype=object),
    }


@pytest.mark.parametrize("make", [xgboost_like, lightgbm_like])
def test_trees_take_missing_values_and_send_them_where_they_were_trained_to(make):
    model = load(make())
    np.testing.assert_allclose(model.predict(HOLES)["probabilities"], probabilities(HOLES), atol=1e-6)
    found = onnxplain.explain(model, HOLES, "exact-shapley", target="probability:1", baseline=[[1, 2, 3]])
    for one, given in zip(found, HOLES, strict=True):
        assert one.score == pytest.approx(probabilities(given[None])[0, 1], abs=1e-6)


def test_missing_values_may_be_references_too():
    model = load(xgboost_like())
    found = onnxplain.explain(model, HOLES[3:], "ablation", target="probability:0", baseline=[[NAN, NAN, NAN]])
    without = [probabilities(np.where(np.arange(3) == k, NAN, HOLES[3:]))[0, 0] for k in range(3)]
    np.testing.assert_allclose(found.feature_values, probabilities(HOLES[3:])[0, 0] - without, atol=1e-6)


def test_imputer_takes_missing_values():
    price = load(pipeline()).predict(row(age=NAN))["price"].item()
    assert price == pytest.approx(10 + contributions(NAN, 6, "red", "Oslo").sum(), abs=1e-5)


def test_linear_model_does_not_take_missing_values_and_the_column_is_named(tmp_path):
    model = load(affine(np.ones((2, 3)), np.zeros(2)))
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n1,,3\n")
    with pytest.raises(InputError, match="missing value in column 'b': the model gives no score without it") as caught:
        onnxplain.explain(model, f"{tmp_path}/rows.csv")
    assert caught.value.where == f"{tmp_path}/rows.csv:1, line 3"
    assert "fill it in" in caught.value.tip
    with pytest.raises(InputError, match=r"input 'x' holds NaN at \[2\]") as caught:
        model.predict(np.array([[1, 2, 3], [1, 2, NAN]], np.float32))
    assert caught.value.where == "row 1"
    with pytest.raises(InputError, match=r"input 'x' holds NaN at \[1\]"):
        onnxplain.explain(model, np.ones((1, 3), np.float32), "ablation", baseline=[[0, NAN, 0]])


def test_number_made_of_a_missing_value_by_accident_is_noticed():
    """x > 2 is false of NaN: the score is finite, but says nothing."""
    nodes = [
        helper.make_node("Greater", ["x", "two"], ["above"]),
        helper.make_node("Cast", ["above"], ["y"], to=FLOAT),
    ]
    model = load(model_of(nodes, {"x": (FLOAT, ["N", 2])}, {"y": (FLOAT, ["N", 2])}, {"two": np.float32(2)}))
    assert model.predict(np.array([[1, 3]], np.float32))["y"].tolist() == [[0, 1]]
    with pytest.raises(InputError, match="the model does not know missing values: Greater"):
        model.predict(np.array([[NAN, 3]], np.float32))


def test_missing_value_that_the_model_never_looks_at_is_no_fault():
    nodes = [helper.make_node("Gather", ["x", "first"], ["y"], axis=1)]
    model = load(
        model_of(nodes, {"x": (FLOAT, ["N", 2])}, {"y": (FLOAT, ["N", 1])}, {"first": np.array([0])}),
    )
    assert model.predict(np.array([[3, NAN]], np.float32))["y"].tolist() == [[3]]
    with pytest.raises(InputError, match="input 'x' holds NaN"):
        model.predict(np.array([[NAN, 3]], np.float32))


def test_infinity_and_holes_in_images_are_refused_as_ever():
    with pytest.raises(InputError, match="holds inf"):
        load(xgboost_like()).predict(np.array([[1, np.inf, 2]], np.float32))
    with pytest.raises(InputError, match="holds nan"):
        load(affine(np.ones((1, 3)), np.zeros(1), axes=("N", 5))).predict(np.full((1, 5, 3), NAN, np.float32))


def test_categories_are_found_in_the_encoders():
    found = graph.text_categories(pipeline(zeros=0))
    assert {name: columns[0].names for name, columns in found.items()} == {"colour": COLOURS, "city": CITIES}
    assert all(columns[0].strict for columns in found.values())
    assert not graph.text_categories(pipeline())["city"][0].strict
    assert graph.text_categories(xgboost_like()) == {}


def test_categories_are_followed_through_concatenation_and_selection():
    encoder = {"domain": "ai.onnx.ml", "cats_strings": ["a", "b"]}
    nodes = [
        helper.make_node("Concat", ["one", "two"], ["both"], axis=1),
        helper.make_node("ArrayFeatureExtractor", ["both", "second"], ["picked"], domain="ai.onnx.ml"),
        helper.make_node("OneHotEncoder", ["picked"], ["y"], **encoder),
    ]
    text = TensorProto.STRING
    inputs = {"one": (text, [None, 1]), "two": (text, [None, 2])}
    proto = model_of(nodes, inputs, {"y": (FLOAT, None)}, {"second": np.array([2])}, domains={"ai.onnx.ml": 1})
    assert graph.text_categories(proto) == {"two": {1: graph.Categories(("a", "b"), strict=False)}}


def test_category_never_seen_is_noted_with_the_nearest_where_the_model_ignores_it():
    found = onnxplain.explain(load(pipeline()), row(colour="grean"), "ablation", baseline=REFERENCE)
    assert found.score == pytest.approx(10 + contributions(50, 6, "", "Oslo").sum(), abs=1e-5)
    (note,) = found.notes
    assert note == "'grean' is not a category of column 'colour', as far as the model knows; did you mean 'green'?"


def test_category_never_seen_is_refused_where_model_or_spec_refuse_it():
    with pytest.raises(InputError, match="'grean' is not a category of column 'colour'") as caught:
        onnxplain.explain(load(pipeline(zeros=0)), row(colour="grean"), "ablation")
    assert "did you mean 'green'" in caught.value.tip
    entry = onnxplain.engine.spec.InputSpec("city", "table", columns=("city",), categories={"city": ("Rome", "Bern")})
    spec = onnxplain.engine.spec.ModelSpec(inputs={"city": entry})
    with pytest.raises(InputError, match="'Oslo' is not a category of column 'city'"):
        onnxplain.explain(load(pipeline(), spec=spec), row(), "ablation")


def test_empty_text_is_a_category_like_any_other_or_missing():
    model = load(pipeline())
    assert onnxplain.explain(model, row(city=""), "ablation", baseline=REFERENCE).notes == ()
    (note,) = onnxplain.explain(model, row(colour=" "), "ablation", baseline=REFERENCE).notes
    assert note.startswith("missing value in column 'colour': it is none of the categories")


def test_notes_on_the_input_are_saved_and_said_once_after_a_replay(tmp_path):
    (tmp_path / "m.onnx").write_bytes(pipeline().SerializeToString())
    found = onnxplain.explain(tmp_path / "m.onnx", row(colour="grean"), "ablation", baseline=REFERENCE)
    loaded = onnxplain.Explanation.load(found.save(tmp_path / "e.npz"))
    assert loaded == found
    assert onnxplain.replay(loaded) == found
    assert len(loaded.notes) == 1
