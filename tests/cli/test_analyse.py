import json
import re

import numpy as np
import pytest

from onnxplain import Analysis
from onnxplain.models import digits

ROWS = "length,width,weight,kind,mass\n" + "\n".join(
    f"{a},{b},{c},{'large' if 0.5 * a - 3 * b + 2 * c > a + 2 * b - c + 0.25 else 'small'},{1 + k % 3}"
    for k, (a, b, c) in enumerate(np.round(np.random.default_rng(0).normal(size=(40, 3)), 3).tolist())
)


@pytest.fixture
def data(linear):
    """Rows for the model of ``linear`` with their classes, beside it."""
    path = linear.with_name("data.csv")
    path.write_text(ROWS + "\n")
    return path


def test_importances_are_printed_ranked(run, linear, data):
    found = run("analyse", "permutation-importance", linear, "--data", data, "--labels", "kind")
    assert found.exit_code == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == "permutation importance: drop of the accuracy when shuffled"
    assert f"data  {data}, 40 rows" in found.stdout
    assert "cost  1,240 evaluations" in found.stdout
    assert "note  accuracy 1 on 40 rows as they are" in found.stdout
    head = next(k for k, line in enumerate(lines) if line.split()[:2] == ["feature", "importance"])
    ranked = [line.split() for line in lines[head + 1 : head + 4]]
    assert [cells[0] for cells in ranked] == ["1", "2", "3"]
    assert {cells[1] for cells in ranked} == {"length", "width", "weight"}
    values = [float(cells[2]) for cells in ranked]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.1


def test_arrays_and_pictures_are_written(run, linear, data, tmp_path):
    out = tmp_path / "out"
    for picture in ("png", "svg"):
        found = run(
            "analyse",
            "partial-dependence",
            linear,
            "--data",
            data,
            "--target",
            "large",
            "-o",
            out,
            "--format",
            picture,
            "--set",
            "points=5",
            "--set",
            "columns=length,width",
            "--set",
            "weights=mass",
        )
        assert found.exit_code == 0, found.stderr
        assert f"wrote {out / 'partial-dependence.npz'}" in found.stdout
        assert f"wrote {out / f'partial-dependence.{picture}'}" in found.stdout
    assert (out / "partial-dependence.png").read_bytes()[:4] == b"\x89PNG"
    assert b"partial dependence: score of large" in (out / "partial-dependence.svg").read_bytes()
    kept = Analysis.load(out / "partial-dependence.npz")
    assert kept.settings["points"] == 5
    assert kept.arrays["panels"].tolist() == ["width", "length"]
    np.testing.assert_allclose(np.diff(kept.arrays["mean/0"][0]) / np.diff(kept.arrays["grid/0"]), -3, rtol=1e-3)
    assert "columns that are not the model's, left out: kind" in found.stdout


def test_a_page_has_picture_tables_and_settings(run, linear, data, tmp_path):
    out = tmp_path / "out"
    arguments = ("analyse", "permutation-importance", linear, "--data", data, "--labels", "kind", "-o", out)
    found = run(*arguments, "--set", "repeats=3")
    assert found.exit_code == 0, found.stderr
    page = (out / "permutation-importance.html").read_text()
    assert f"wrote {out / 'permutation-importance.html'}" in found.stdout
    assert page.count("data:image/png;base64,") == 1
    assert re.search(r"<td>(width|weight|length)</td>", page)
    assert "<td>accuracy 1 on 40 rows" not in page  # notes are text, not facts
    assert "accuracy 1 on 40 rows as they are" in page
    assert "setting repeats</th><td>3<" in page
    assert "http" not in page.split("</style>")[1]
    assert run(*arguments).exit_code == 0  # its own page is written anew
    (out / "permutation-importance.html").write_text("mine")
    refused = run(*arguments)
    assert refused.exit_code == 3
    assert "was not written by onnxplain; it is not overwritten" in refused.stderr


def test_names_from_outside_are_escaped_on_the_page(run, linear, tmp_path):
    (tmp_path / "odd.csv").write_text(ROWS.replace("length,", '"<b>long</b>",') + "\n")
    spec = tmp_path / "odd.toml"
    columns = '["<b>long</b>", "width", "weight"]'
    spec.write_text(f'labels = ["large", "small"]\n[inputs.x]\nmodality = "table"\ncolumns = {columns}\n')
    arguments = ("--spec", spec, "--data", "odd.csv", "--labels", "kind", "-o", "out")
    found = run("analyse", "permutation-importance", linear, *arguments)
    assert found.exit_code == 0, found.stderr
    page = (tmp_path / "out" / "permutation-importance.html").read_text()
    assert "<td>&lt;b&gt;long&lt;/b&gt;</td>" in page
    assert "<b>long" not in page


def test_an_analysis_is_replayed(run, linear, data, tmp_path):
    arguments = ("analyse", "permutation-importance", linear, "--data", data, "--labels", "kind", "-o", "out")
    assert run(*arguments, "--seed", 5).exit_code == 0
    file = tmp_path / "out" / "permutation-importance.npz"
    found = run("replay", file)
    assert (found.exit_code, found.stdout) == (0, "identical\n"), found.stderr
    assert json.loads(run("replay", file, "--json").stdout)["values"]["values"] == {"absolute": 0.0, "relative": 0.0}
    other = tmp_path / "moved.csv"
    data.rename(other)
    assert "there is no such file" in run("replay", file).stderr
    assert run("replay", file, "--data", other).exit_code == 0
    other.write_text(ROWS.replace("small", "large", 1) + "\n")
    refused = run("replay", file, "--data", other)
    assert refused.exit_code == 3
    assert "these are not the data that were analysed" in refused.stderr


def test_channels_are_ranked_and_their_removal_is_replayed(run, tmp_path):
    pytest.importorskip("torch")
    held_out = digits.data()[1]
    np.savez(tmp_path / "digits.npz", image=held_out.images[:60], digit=held_out.digits[:60])
    arguments = ("analyse", "lrp-pruning", "digits-cnn", "--data", "digits.npz", "--labels", "digit", "-o", "out")
    found = run(*arguments, "--set", "percent=0,20", "--set", "repeats=2")
    assert found.exit_code == 0, found.stderr
    assert "channels by relevance, the highest first" in found.stdout
    assert "and 102 more" in found.stdout
    table = next(line.split() for line in found.stdout.splitlines() if line.split()[1:2] == ["22"])
    assert float(table[2]) >= 0.9  # relevance, with a fifth of the channels gone
    page = (tmp_path / "out" / "lrp-pruning.html").read_text()
    assert "channels by relevance, the highest first, the first 100 of 112" in page
    assert (run("replay", "out/lrp-pruning.npz").stdout, run("replay", "out/lrp-pruning.npz").exit_code) == (
        "identical\n",
        0,
    )


def test_json_is_one_document(run, linear, data):
    found = run(
        "analyse",
        "ice",
        linear,
        "--data",
        data,
        "-t",
        "large",
        "--set",
        "ice.columns=weight",
        "--set",
        "rows=10",
        "--json",
    )
    assert found.exit_code == 0, found.stderr
    document = json.loads(found.stdout)
    assert document["name"] == "ice"
    assert document["rows"][0]["column"] == "weight"
    assert document["rows"][0]["difference of rows"] == pytest.approx(0, abs=1e-5)
    assert document["settings"]["rows"] == 10
    assert document["model"]["path"] == str(linear)
    assert document["files"] == []
    assert document["evaluations"] == 100


def test_the_same_seed_gives_the_same(run, linear, data):
    arguments = ("analyse", "permutation-importance", linear, "--data", data, "--labels", "kind", "--json")
    one, two, three = (json.loads(run(*arguments, "--seed", s).stdout) for s in (1, 1, 2))
    assert one["arrays"] == two["arrays"]
    assert one["arrays"] != three["arrays"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["permutation-importanc", "--data", "data.csv"], 3, "did you mean 'permutation-importance'"),
        (["rise", "--data", "data.csv"], 3, "'rise' is an explainer, not an analysis"),
        (["permutation-importance", "--data", "data.csv"], 3, "no labels were given"),
        (["permutation-importance", "--data", "data.csv", "--labels", "kin"], 3, "did you mean 'kind'"),
        (["permutation-importance", "--data", "data.cs", "--labels", "kind"], 3, "there is no such file"),
        (["permutation-importance", "--labels", "kind"], 2, "--data"),
        (["permutation-importance", "--data", "data.csv", "--set", "score"], 2, "--set takes SETTING=VALUE"),
        (["permutation-importance", "--data", "data.csv", "--set", "scores=auc"], 3, "did you mean 'score'"),
        (["partial-dependence", "--data", "data.csv", "--set", "columns=weigth"], 3, "did you mean 'weight'"),
        (["partial-dependence", "--data", "data.csv", "--format", "svg"], 2, "--format is about the picture"),
        (["partial-dependence", "--data", "data.csv", "-o", ""], 2, "the name given is empty"),
        (["partial-dependence", "--data", "data.csv", "-o", "data.csv"], 3, "cannot write results"),
        (["partial-dependence", "--data", "data.csv", "--target", "larg"], 3, "did you mean 'large'"),
        (["partial-dependence", "--data", "data.csv:99"], 3, "there is no row 99"),
        (["ice", "--data", "data.csv", "--target", "all"], 3, "ice is of one class"),
        (["ice", "--data", "rows.csv:0"], 3, "no column varies"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_few_lines(run, linear, data, arguments, code, message):
    found = run("analyse", arguments[0], linear, *arguments[1:])
    assert found.exit_code == code
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert len(found.stderr.strip().splitlines()) <= 6
    assert found.stdout == ""


def test_analyses_are_listed(run):
    found = run("methods", "--kind", "analysis")
    assert found.exit_code == 0
    assert {"ice", "partial-dependence", "permutation-importance"} <= {
        line.split()[0] for line in found.stdout.splitlines()
    }
    assert "onnxplain analyse ice model.onnx --data rows.csv" in run("methods", "ice").stdout
