"""Tables on the command line: settings by input name, groups, background rows, what is wrong with a file."""

import json

import numpy as np
import onnx
import pytest

from small_graphs import affine
from table_graphs import contributions, pipeline, xgboost_like

HEADER = "age,visits,colour,city\n"


@pytest.fixture
def shop(tmp_path):
    onnx.save(pipeline(), tmp_path / "shop.onnx")
    (tmp_path / "rows.csv").write_text(HEADER + "50,6,red,Oslo\n,1,grean,\n")
    (tmp_path / "bg.csv").write_text(HEADER + "30,1,blue,Lima\n40,3,green,Oslo\n50,8,red,\n")
    return tmp_path


def features(result, place=0):
    assert result.exit_code == 0, result.output
    return {f["name"]: f["value"] for f in json.loads(result.stdout)["results"][place]["features"]}


def test_groups_of_columns_are_given_as_a_dict(run, shop):
    groups = '{person = ["age", "city"]}'
    found = run(
        "explain", "shop.onnx", "rows.csv:0", "-m", "ablation", "--baseline", "bg.csv:1", "--features", groups, "--json"
    )
    row, other = contributions(50, 6, "red", "Oslo"), contributions(40, 3, "green", "Oslo")
    difference = row - other
    wanted = {"person": difference[0] + difference[3], "visits": difference[1], "colour": difference[2]}
    assert features(found) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    "written",
    [
        '{age = 40, visits = 4, colour = "blue", city = "Lima"}',
        '{"age": 40, "visits": 4, "colour": "blue", "city": "Lima"}',
    ],
)
def test_baseline_by_input_name_is_written_as_toml_or_json(run, shop, written):
    found = run("explain", "shop.onnx", "rows.csv:0", "-m", "ablation", "--set", f"baseline={written}", "--json")
    wanted = contributions(50, 6, "red", "Oslo") - contributions(40, 4, "blue", "Lima")
    assert list(features(found).values()) == pytest.approx(wanted.tolist(), abs=1e-5)


def test_window_by_input_name(run, tmp_path):
    onnx.save(affine(np.array([[1.0, 2.0, 4.0, 8.0]]), np.zeros(1)), tmp_path / "m.onnx")
    (tmp_path / "r.csv").write_text("a,b,c,d\n1,1,1,1\n")
    setting = "occlusion.window={x = 2}"
    found = run("explain", "m.onnx", "r.csv", "-m", "occlusion", "--set", setting, "--set", "stride={x = 2}", "--json")
    assert list(features(found).values()) == [3, 3, 12, 12]
    wrong = run("explain", "m.onnx", "r.csv", "-m", "occlusion", "--set", "occlusion.window={z = 2}")
    assert wrong.exit_code == 3
    assert "names an input 'z'" in wrong.stderr
    broken = run("explain", "m.onnx", "r.csv", "-m", "occlusion", "--set", "occlusion.window={x: 2}")
    assert broken.exit_code == 3
    assert "is no dict of settings" in broken.stderr
    assert len(broken.stderr.splitlines()) <= 6


def test_missing_values_and_unknown_categories_are_told(run, shop):
    result = run("explain", "shop.onnx", "rows.csv:1", "-m", "ablation", "--baseline", "bg.csv")
    assert result.exit_code == 0
    assert (
        "'grean' is not a category of column 'colour', as far as the model knows; did you mean 'green'?"
        in result.stdout
    )
    onnx.save(pipeline(zeros=0), shop / "strict.onnx")
    refused = run("explain", "strict.onnx", "rows.csv", "-m", "ablation", "--baseline", "bg.csv")
    assert refused.exit_code in {3, 4}
    assert "did you mean 'green'?" in refused.stderr


def test_model_without_missing_values_refuses_a_row_by_column(run, tmp_path):
    onnx.save(affine(np.ones((1, 2)), np.zeros(1)), tmp_path / "m.onnx")
    (tmp_path / "r.csv").write_text("a,b\n1,NA\n")
    result = run("explain", "m.onnx", "r.csv")
    assert result.exit_code == 3
    assert "missing value in column 'b'" in result.stderr
    assert len(result.stderr.splitlines()) <= 6
    onnx.save(xgboost_like(2), tmp_path / "trees.onnx")
    assert run("explain", "trees.onnx", "r.csv").exit_code == 0


def test_inspect_warns_of_labels_that_do_not_fit(run, tmp_path):
    onnx.save(xgboost_like(3), tmp_path / "m.onnx")
    (tmp_path / "m.toml").write_text('labels = ["a", "b"]\noutput = "probabilities"\n')
    result = run("inspect", "m.onnx")
    assert result.exit_code == 0
    assert "warning: the spec names 2 classes, output 'probabilities' has 3: the names are not used" in result.stderr
    assert json.loads(run("inspect", "m.onnx", "--json").stdout)["warnings"]
    (tmp_path / "m.toml").write_text('labels = ["a", "b", "c"]\noutput = "probabilities"\n')
    assert "warning" not in run("inspect", "m.onnx").stderr
    assert json.loads(run("inspect", "m.onnx", "--json").stdout)["warnings"] == []


def test_categories_that_encoders_list_are_written_into_a_first_spec(run, shop):
    assert run("inspect", "shop.onnx", "--write-spec").exit_code == 0
    spec = (shop / "shop.toml").read_text()
    assert 'categories]\n"colour" = ["blue", "green", "red"]' in spec
    result = run("explain", "shop.onnx", "rows.csv:1", "-m", "ablation", "--baseline", "bg.csv")
    assert result.exit_code == 3
    assert "'grean' is not a category of this column" in result.stderr


def test_replay_of_another_file_says_how_explanations_are_written(run, tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    np.savez(tmp_path / "arrays.npz", a=np.ones(2))
    for name in ("rows.csv", "arrays.npz"):
        result = run("replay", name)
        assert result.exit_code == 3
        assert "not a saved explanation" in result.stderr
        assert "onnxplain explain MODEL INPUT -o DIR" in result.stderr
        assert "numpy" not in result.stderr
