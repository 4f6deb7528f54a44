"""Texts on the command line: --text, .txt files, tokenizers, colours in the terminal, and what inspect says."""

import json

import numpy as np
import pytest

from onnxplain import Explanation
from onnxplain.cli import demo
from onnxplain.cli.demo_text import text_scenes
from onnxplain.cli.marked import coloured
from onnxplain.models import catalogue
from text_models import (
    SENTENCE,
    string_model,
    text_beside_model,
    token_model,
    tokenizer,
    two_texts_model,
    written,
)


def test_text_is_explained_word_by_word_and_saved_under_its_words(run, tmp_path):
    written(tmp_path, token_model(), tokenizer())
    result = run("explain", "model.onnx", "--text", SENTENCE, "-m", "exact-shapley", "-t", "1", "-o", "out")
    assert result.exit_code == 0, result.stderr
    words = [line.split()[0] for line in result.stdout.splitlines() if line.strip().endswith(("+2", "+1.5", "+0.25"))]
    assert words == ["wonderful", "moving", "film"]
    names = {p.name for p in (tmp_path / "out").iterdir()}
    stem = "a-wonderful-moving-film.exact-shapley"
    assert names == {f"{stem}.npz", f"{stem}.png", "index.html"}
    assert Explanation.load(tmp_path / "out" / f"{stem}.npz").sample.text == SENTENCE
    assert 'class="raises20" title="+2"' in (tmp_path / "out" / "index.html").read_text()
    assert run("replay", f"out/{stem}.npz").exit_code == 0


def test_several_texts_and_files_get_files_of_their_own(run, tmp_path):
    written(tmp_path, string_model())
    (tmp_path / "review.txt").write_text("a dull film", encoding="utf-8")
    texts = ["--text", "a film", "--text", "a film!", "--text", "../../x/y: z", "--text", "?!"]
    result = run("explain", "model.onnx", "review.txt", *texts, "-m", "ablation", "-o", "out", "--format", "svg")
    assert result.exit_code == 0, result.stderr
    stems = {p.name.removesuffix(".ablation.npz") for p in (tmp_path / "out").glob("*.npz")}
    assert stems == {"review", "a-film", "a-film-2", "x-y-z", "text"}


def test_json_document_names_the_words(run, tmp_path):
    written(tmp_path, string_model())
    result = run("explain", "model.onnx", "--text", SENTENCE, "-m", "ablation", "-t", "1", "--json")
    (found,) = json.loads(result.stdout)["results"]
    assert {f["name"]: f["value"] for f in found["features"]}["wonderful"] == pytest.approx(2.0)
    assert found["input"]["text"] == SENTENCE


def test_short_texts_get_exact_shapley_values_unless_asked_otherwise(run, tmp_path):
    written(tmp_path, string_model())
    assert "using exact-shapley" in run("explain", "model.onnx", "--text", SENTENCE).stderr
    assert "using occlusion" in run("explain", "model.onnx", "--text", "a film " * 10).stderr


def test_one_of_file_and_text_must_be_given(run, tmp_path):
    written(tmp_path, string_model())
    result = run("explain", "model.onnx")
    assert result.exit_code == 2
    assert "--text" in result.stderr


def test_missing_tokenizer_is_told_and_one_can_be_named(run, tmp_path):
    written(tmp_path, token_model())
    tokenizer().save(str(tmp_path / "mine.json"))
    result = run("explain", "model.onnx", "--text", SENTENCE, "-m", "ablation")
    assert result.exit_code == 3
    assert "there is no tokenizer" in result.stderr
    assert "--tokenizer" in result.stderr
    assert result.stderr.count("\n") <= 6
    (tmp_path / "review.txt").write_text(SENTENCE)
    for given in (["--text", SENTENCE], ["review.txt"]):
        assert run("explain", "model.onnx", *given, "-m", "ablation", "--tokenizer", "mine.json").exit_code == 0


def test_a_text_that_cannot_be_explained_does_not_stop_the_rest(run, tmp_path):
    written(tmp_path, string_model())
    result = run("explain", "model.onnx", "--text", " ", "--text", "a film", "-m", "ablation")
    assert result.exit_code == 4
    assert "the text is empty" in result.stderr


def test_inspect_says_how_texts_go_in_and_what_is_missing(run, tmp_path):
    written(tmp_path, token_model())
    assert "lacks a tokenizer: put tokenizer.json beside the model" in run("inspect", "model.onnx").stdout
    tokenizer().save(str(tmp_path / "tokenizer.json"))
    said = run("inspect", "model.onnx").stdout
    assert "texts by " in said
    assert "tokenizer.json" in said
    found = json.loads(run("inspect", "model.onnx", "--json").stdout)["preprocessing"]
    assert found["input_ids"]["text"]["missing"] == ""
    assert found["attention_mask"]["text"] is None
    written(tmp_path, string_model(), name="strings")
    assert "takes a text as it is" in run("inspect", "strings.onnx").stdout


def result_of(tmp_path, text=SENTENCE):
    import onnxplain

    model = onnxplain.load(written(tmp_path, string_model()), device="cpu")
    return onnxplain.explain(model, onnxplain.Text(text), "ablation", target=1)


def test_terminal_shows_the_sentence_with_coloured_words(tmp_path):
    shown = coloured(result_of(tmp_path), force="truecolor")
    assert "48;2;138;10;38mwonderful\x1b" in shown  # the strongest, on the darkest red
    assert "\x1b[" not in shown.split("wonderful")[0].strip().split("a")[0]  # "a" is worth nothing: left as it is
    assert coloured(result_of(tmp_path)) == ""  # not a terminal


def test_terminal_gets_no_escapes_of_the_text(tmp_path):
    shown = coloured(result_of(tmp_path, "a dull\x1b]0;evil\x07 film [bold]x[/bold] \u202e"), force="truecolor")
    assert "\x1b]" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "bold" in shown


def test_demonstration_without_a_model_of_texts_says_how_to_get_one(capsys):
    assert text_scenes(demo.Scene, is_ready=lambda _: False, is_built=lambda _: False) == []
    assert "onnxplain models build tfidf-sentiment" in capsys.readouterr().err


def test_demonstration_takes_the_encoder_where_it_has_been_built(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "samples", lambda _: [tmp_path / "other.txt", tmp_path / "wonderful.txt"])
    for ready, name in ((True, "minilm-sentiment"), (False, "tfidf-sentiment")):
        (scene,) = text_scenes(demo.Scene, is_ready=lambda _, ready=ready: ready, is_built=lambda _: True)
        assert (scene.model, scene.source) == (name, str(tmp_path / "wonderful.txt"))


def test_numbers_of_a_long_text_fit_the_page(run, tmp_path):
    written(tmp_path, string_model())
    (tmp_path / "long.txt").write_text("a wonderful film, a dull film. " * 80)
    result = run("explain", "model.onnx", "long.txt", "-m", "ablation", "-t", "1", "-o", "out")
    assert result.exit_code == 0, result.stderr
    values = Explanation.load(tmp_path / "out" / "long.ablation.npz").feature_values
    assert len(values) == 80 * 8
    assert np.isclose(values.sum(), 80 * 0.5, atol=1e-3)


def values_of(stdout):
    (found,) = json.loads(stdout)["results"]
    return {f["name"]: pytest.approx(f["value"], abs=1e-4) for f in found["features"]}


def test_pair_of_texts_is_explained_and_replayed(run, tmp_path):
    written(tmp_path, token_model(types=True), tokenizer(pairs=True))
    pair = ["--text", "a wonderful film", "--text-pair", "dull"]
    result = run("explain", "model.onnx", *pair, "-m", "ablation", "-t", "1", "-o", "out", "--json")
    assert result.exit_code == 0, result.stderr
    assert values_of(result.stdout) == {"a": 0, "wonderful": 2, "film": 0.25, "dull": 98}
    assert run("replay", "out/a-wonderful-film-dull.ablation.npz").stdout == "identical\n"
    assert "a wonderful film" in run("explain", "model.onnx", *pair).stdout
    alone, odd = (run("explain", "model.onnx", *given) for given in (pair[2:], [*pair, "--text", "a"]))
    assert (alone.exit_code, odd.exit_code) == (2, 3)
    assert "give the first one" in alone.stderr
    assert "2 texts and 1 to go with them" in odd.stderr


@pytest.mark.parametrize(
    "texts",
    [
        ["--text", "a film", "--text", "dull"],
        ["--text", "context_input_ids=dull", "--text", "question_input_ids=a film"],
        ["--text", "a film", "--text-pair", "dull"],
    ],
)
def test_two_inputs_of_texts_are_filled_in_order_or_by_name(run, tmp_path, texts):
    written(tmp_path, two_texts_model(), tokenizer())
    result = run("explain", "model.onnx", *texts, "-m", "ablation", "-t", "1", "--json")
    assert values_of(result.stdout) == {"a": 0, "film": 0.25, "dull": -4}


def test_texts_that_do_not_go_together_are_told(run, tmp_path):
    written(tmp_path, two_texts_model(), tokenizer())
    for texts, said in (
        (["a", "b", "c"], "takes 2 texts at a time, not 3"),
        (["question_input_ids=a", "b"], "some texts name their input"),
        (["question_input_ids=a"], "does not fill input 'context_input_ids'"),
    ):
        result = run("explain", "model.onnx", *[word for text in texts for word in ("--text", text)], "-m", "ablation")
        assert result.exit_code == 3
        assert said in result.stderr
        assert result.stderr.count("\n") <= 6
    several = [word for text in ("a", "film", "a", "dull") for word in ("--text", text)]
    assert len(json.loads(run("explain", "model.onnx", *several, "--json").stdout)["results"]) == 2


def test_text_beside_files(run, tmp_path):
    written(tmp_path, text_beside_model(), tokenizer())
    (tmp_path / "rows.csv").write_text("width,height\n3,0.5\n1,2\n")
    np.savez(tmp_path / "rest.npz", row=np.array([[3, 0.5]], np.float32))
    words = {"a": 0, "film": 0.25}
    result = run("explain", "model.onnx", "rest.npz", "--text", "a film", "-m", "ablation", "-t", "1", "--json")
    assert values_of(result.stdout) == {**words, "column 0": 3, "column 1": 5}
    result = run("explain", "model.onnx", "rows.csv:1", "--text", "a film", "-m", "ablation", "-t", "1", "--json")
    assert values_of(result.stdout) == {**words, "width": 1, "height": 20}
    several = run("explain", "model.onnx", "rows.csv:0", "rows.csv:1", "--text", "a", "--text", "film", "--json")
    found = json.loads(several.stdout)["results"]
    assert [one["input"]["text"] for one in found] == ["a", "film"]
    assert [one["method"] for one in found] == ["shapley", "shapley"]
    written_files = run("explain", "model.onnx", "rows.csv", "--text", "a film", "-o", "out", "--format", "svg")
    assert written_files.exit_code == 0, written_files.stderr
    assert {p.name for p in (tmp_path / "out").glob("*.npz")} == {
        "a-film-rows-0.shapley.npz",
        "a-film-rows-1.shapley.npz",
    }
    for given, said in (
        ([], "does not fill input 'row'"),
        (["rows.csv:0", "rows.csv:1", "rest.npz", "--text", "b"], "2 texts and 3 files"),
    ):
        refused = run("explain", "model.onnx", *given, "--text", "a film")
        assert refused.exit_code == 3
        assert said in refused.stderr
        assert refused.stderr.count("\n") <= 6


def test_texts_are_evaluated(run, tmp_path):
    written(tmp_path, token_model(types=True), tokenizer(pairs=True))
    (tmp_path / "review.txt").write_text("a dull film")
    given = ["--metric", "deletion", "--metric", "sparseness", "-m", "ablation", "--json"]
    result = run("evaluate", "model.onnx", "review.txt", "--text", SENTENCE, *given)
    assert result.exit_code == 0, result.stderr
    assert {score["metric"] for score in json.loads(result.stdout)["scores"]} == {"deletion", "sparseness"}
    assert all(len(score["samples"]) == 2 for score in json.loads(result.stdout)["scores"])
    pair = run("evaluate", "model.onnx", "--text", "a film", "--text-pair", "dull film", *given)
    assert pair.exit_code == 0, pair.stderr
    assert run("evaluate", "model.onnx", *given).exit_code == 2
    assert run("evaluate", "model.onnx", "--text", " ", *given).exit_code == 3


def test_several_methods_on_one_text_are_shown_together(run, tmp_path):
    written(tmp_path, string_model())
    given = ["--text", SENTENCE, "--text", "a film", "-m", "ablation", "-m", "lime", "-t", "1", "-o", "out"]
    assert run("explain", "model.onnx", *given).exit_code == 0
    stems = {p.name for p in (tmp_path / "out").glob("*.methods.png")}
    assert stems == {"a-wonderful-moving-film.methods.png", "a-film.methods.png"}
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("2 methods") == 4  # headings, and entries of the contents
    assert page.count('<p class="passage"') == 8
    assert run("explain", "model.onnx", "--text", "a film", "-m", "ablation", "-o", "one").exit_code == 0
    assert not list((tmp_path / "one").glob("*.methods.png"))


def test_rows_of_a_csv_file_of_texts_get_files_of_their_own(run, tmp_path):
    written(tmp_path, token_model(), tokenizer())
    (tmp_path / "films.csv").write_text(f'id,blurb,more\n1,"{SENTENCE}",x\n2,,y\n3,a dull film,z\n')
    asked = ("explain", "model.onnx", "films.csv", "-m", "ablation", "-t", "1")
    unclear = run(*asked)
    assert unclear.exit_code == 3
    assert "which column of this file holds the text? It has 'blurb', 'more'" in unclear.stderr
    result = run(*asked, "--text-column", "blurb", "-o", "out")
    assert result.exit_code == 4
    assert "films.csv:1: the text is empty\n  at: films.csv, line 3: row 1, column 'blurb'" in result.stderr
    stems = {p.name.removesuffix(".ablation.npz") for p in (tmp_path / "out").glob("*.npz")}
    assert stems == {"films-0", "films-2"}
    saved = Explanation.load(tmp_path / "out" / "films-2.ablation.npz")
    assert (saved.sample.source, saved.sample.text) == ("films.csv:2", "a dull film")
    assert saved.manifest["spec"]["inputs"]["input_ids"]["columns"] == ["blurb"]
    assert run("replay", "out/films-2.ablation.npz").exit_code == 0


def test_csv_file_of_texts_is_evaluated_and_analysed(run, tmp_path):
    written(tmp_path, token_model(), tokenizer())
    (tmp_path / "model.toml").write_text('labels = ["bad", "good"]\ntask = "classification"\n')
    rows = ["text,class", "moving film,good", "dull film,bad", "a moving film,good", "not dull,bad"]
    (tmp_path / "films.csv").write_text("\n".join(rows))
    deletion = ("--metric", "deletion", "--set", "deletion.of=score")  # probabilities of this model are all 1
    judged = run("evaluate", "model.onnx", "films.csv", "-m", "ablation", *deletion, "--json")
    assert judged.exit_code == 0, judged.stderr
    first = json.loads(judged.stdout)["scores"][0]
    assert len([sample for sample in first["samples"] if sample is not None]) == 4
    asked = ("analyse", "permutation-importance", "model.onnx", "--data", "films.csv:0-2")
    result = run(*asked, "--set", "repeats=20", "--json", "-o", "out")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["manifest"]["data_rows"] == 3
    assert {row["feature"] for row in found["rows"]} == {f"[{k}]" for k in range(5)}  # [CLS] a moving film [SEP]
    assert run("replay", "out/permutation-importance.npz").exit_code == 0


def test_analyses_take_a_tokenizer_from_elsewhere(run, tmp_path):
    written(tmp_path, token_model(), tokenizer())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tokenizer.json").rename(tmp_path / "elsewhere" / "own.json")
    (tmp_path / "films.csv").write_text("text,class\nmoving film,1\ndull film,0\n")
    asked = ("analyse", "permutation-importance", "model.onnx", "--data", "films.csv", "--json")
    assert "--tokenizer" in run(*asked).stderr
    result = run(*asked, "--tokenizer", "elsewhere/own.json", "-o", "out")
    assert result.exit_code == 0, result.stderr
    manifest = json.loads(result.stdout)["manifest"]
    assert manifest["data_rows"] == 2
    assert manifest["tokenizer_given"] == str(tmp_path / "elsewhere" / "own.json")
    saved = "out/permutation-importance.npz"
    assert run("replay", saved).stdout == "identical\n"
    (tmp_path / "elsewhere" / "own.json").rename(tmp_path / "own.json")
    assert "--tokenizer FILE" in run("replay", saved).stderr
    assert run("replay", saved, "--tokenizer", "own.json").stdout == "identical\n"
    assert run("explain", "model.onnx", "--text", "film", "--tokenizer", "own.json", "-o", "one").exit_code == 0
    held = run("replay", "one/film.exact-shapley.npz", "--tokenizer", "own.json")
    assert held.exit_code == 2
    assert "--tokenizer: for an analysis" in held.stderr


@pytest.mark.parametrize("given", [("nope.json", "no such file"), ("notes.json", "this is no tokenizer")])
def test_commands_refuse_a_tokenizer_alike(run, tmp_path, given):
    written(tmp_path, token_model(), tokenizer())
    (tmp_path / "films.csv").write_text("text,class\nmoving film,1\ndull film,0\n")
    (tmp_path / "notes.json").write_text("[]")
    file, said = given
    for asked in (
        ("explain", "model.onnx", "films.csv", "-m", "ablation"),
        ("evaluate", "model.onnx", "films.csv", "-m", "ablation"),
        *(("analyse", name, "model.onnx", "--data", "films.csv") for name in ("permutation-importance", "ice")),
    ):
        refused = run(*asked, "--tokenizer", file)
        assert refused.exit_code == 3
        assert said in refused.stderr
        assert f"at: {file}" in refused.stderr


def test_lines_of_a_text_file_are_explained_evaluated_and_analysed(run, tmp_path):
    written(tmp_path, token_model(), tokenizer())
    (tmp_path / "model.toml").write_text('labels = ["bad", "good"]\ntask = "classification"\n')
    (tmp_path / "films.txt").write_bytes(b"a moving film\r\n\r\ndull\r\nnot dull")
    (tmp_path / "class.csv").write_text("class\ngood\nbad\n")
    result = run("explain", "model.onnx", "films.txt:0-", "-m", "ablation", "-t", "1", "-o", "out")
    assert result.exit_code == 4
    assert "films.txt:1: the text is empty\n  at: films.txt, line 2: row 1\n  tip: remove the line" in result.stderr
    stems = {p.name.removesuffix(".ablation.npz") for p in (tmp_path / "out").glob("*.npz")}
    assert stems == {"films-0", "films-2", "films-3"}
    saved = Explanation.load(tmp_path / "out" / "films-3.ablation.npz")
    assert (saved.sample.source, saved.sample.text) == ("films.txt:3", "not dull")
    assert run("replay", "out/films-3.ablation.npz").exit_code == 0
    deletion = ("--metric", "deletion", "--set", "deletion.of=score", "--json")
    judged = json.loads(run("evaluate", "model.onnx", "films.txt:2-3", "-m", "ablation", *deletion).stdout)
    assert len(judged["scores"][0]["samples"]) == 2
    asked = ("analyse", "permutation-importance", "model.onnx", "--labels", "class.csv", "--json", "-o", "study")
    blank = run(*asked, "--data", "films.txt")
    assert blank.exit_code == 3
    assert "at: films.txt, line 2: row 1" in blank.stderr
    found = run(*asked, "--data", "films.txt:2-3")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["manifest"]["data"] == "films.txt:2-3"
    assert run("replay", "study/permutation-importance.npz").stdout == "identical\n"
