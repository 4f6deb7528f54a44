import numpy as np
import pytest
from onnx import helper
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression

import onnxplain
from effect_models import COLUMNS, opened
from onnxplain import InputError, SettingError
from oracles.graphs import linear, model, random_convolutions, token_sums
from text_models import token_model, tokenizer, two_strings_model, written

NAME = "permutation-importance"
ROWS = np.array([(1, 1, 0), (0, 2, 1), (3, 0, 2), (2, 1, 1)], np.float32)
Y = np.array([2.0, 3, 6, 4])
ORDER = np.array([[2, 0, 3, 1]])


def by_name(found, column="importance"):
    return dict(zip([r[0] for r in found.rows], [r[found.columns.index(column)] for r in found.rows], strict=True))


@pytest.mark.parametrize(
    ("score", "form", "expected"),
    [
        ("mse", "difference", [7, 2.5, 3]),
        ("mse", "ratio", [15, 6, 7]),
        ("mae", "difference", [2, 1, 1]),
    ],
)
def test_row_222_given_permutation(row_222, score, form, expected):
    found = onnxplain.analyse(row_222, ROWS, NAME, labels=Y, score=score, form=form, permutations=ORDER)
    assert by_name(found) == pytest.approx(dict(zip(COLUMNS, expected, strict=True)))
    if score == "mse":
        assert found.arrays["score"] == pytest.approx(0.5)
    assert found.evaluations == 4 * (1 + 3)
    assert [r[0] for r in found.rows] == ["age", *("town", "income")] or expected == [2, 1, 1]


def slow(model, rows, labels, orders, loss):
    """The same in loops: a column at a time, a row at a time."""
    base = loss(labels, model.predict(rows)["y"])
    found = np.zeros((rows.shape[1], len(orders)))
    for k in range(rows.shape[1]):
        for r, order in enumerate(orders):
            changed = rows.copy()
            for i, source in enumerate(order):
                changed[i, k] = rows[source, k]
            found[k, r] = loss(labels, model.predict(changed)["y"]) - base
    return base, found


def test_a_slower_implementation_agrees(classifier):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 60)
    orders = np.array([rng.permutation(60) for _ in range(4)])

    def loss(y, p):
        return -np.mean([np.log(row[k]) for row, k in zip(p.astype(float), y, strict=True)])

    base, expected = slow(classifier, rows, labels, orders, loss)
    found = onnxplain.analyse(classifier, rows, NAME, labels=labels, score="log-loss", permutations=orders)
    assert found.arrays["score"] == pytest.approx(base, rel=1e-6)
    order = [COLUMNS.index(name) for name in found.arrays["names"].tolist()]
    np.testing.assert_allclose(found.arrays["samples"], expected[order], atol=1e-6)
    np.testing.assert_allclose(found.arrays["values"], expected[order].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(found.arrays["spread"], expected[order].std(axis=1, ddof=1), atol=1e-6)
    assert (np.diff(found.arrays["values"]) <= 0).all()


def test_scikit_learn_agrees_on_its_own_permutations():
    """scikit-learn shuffles a column on from repeat to repeat, with the same generator for every column."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(80, 3)).astype(np.float32)
    y = rows @ [3.0, -1.0, 0.2] + rng.normal(size=80)
    fitted = LinearRegression().fit(rows, y)
    theirs = permutation_importance(fitted, rows, y, n_repeats=5, random_state=7, scoring="r2")
    (seed,) = np.random.RandomState(7).randint(np.iinfo(np.int32).max + 1, size=1)
    state, order, orders, step = np.random.RandomState(seed), np.arange(80), [], np.arange(80)
    for _ in range(5):
        state.shuffle(step)
        order = order[step]
        orders.append(order.copy())
    found = onnxplain.analyse(
        opened(linear(fitted.coef_, fitted.intercept_), task="regression"),
        rows,
        NAME,
        labels=y,
        permutations=np.array(orders),
    )
    mine = dict(zip(found.arrays["names"].tolist(), found.arrays["samples"], strict=True))
    for k, name in enumerate(COLUMNS):
        np.testing.assert_allclose(np.sort(mine[name]), np.sort(theirs.importances[k]), rtol=1e-3, atol=1e-4)


def test_linear_model_loses_twice_the_variance_of_its_column():
    """E (w x - w x')² = 2 w² var(x) for an independent copy x'."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(4000, 3)).astype(np.float32) * [1, 2, 3]
    weights = (1.0, 0.5, 0.0)
    found = onnxplain.analyse(
        opened(linear(weights), task="regression"),
        rows.astype(np.float32),
        NAME,
        labels=rows @ weights,
        score="mse",
        repeats=3,
    )
    expected = {n: 2 * w**2 * float(v) for n, w, v in zip(COLUMNS, weights, rows.var(axis=0), strict=True)}
    assert by_name(found) == pytest.approx(expected, rel=0.06, abs=1e-9)
    assert found.rows[-1][0] == "town"


@pytest.mark.parametrize(
    "labels", [["dog", "cat", "owl"], ["DOG", "cat", "Owl"], [1, 0, 2], ["1", "0", "2"], [1.0, 0, 2]]
)
def test_labels_are_names_or_numbers(classifier, labels):
    rows = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    found = onnxplain.analyse(classifier, rows, NAME, labels=np.array(labels * 10), repeats=2)
    number = np.array([1, 0, 2] * 10)
    assert found.arrays["score"] == pytest.approx((classifier.predict(rows)["y"].argmax(axis=1) == number).mean())
    assert found.columns[-1] == "accuracy when shuffled"


def test_spread_is_not_known_of_one_repeat(row_222):
    found = onnxplain.analyse(row_222, ROWS, NAME, labels=Y, repeats=1)
    assert all(row[2] is None for row in found.rows)
    assert "spread" not in found.arrays


def test_draws_depend_on_the_seed_alone(classifier):
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    labels = np.arange(40) % 3
    one, two, three = (
        onnxplain.analyse(classifier, rows, NAME, labels=labels, seed=s, score="log-loss") for s in (0, 0, 1)
    )
    assert one == two
    assert one != three


def test_many_rows_are_sampled_and_it_is_said(classifier):
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found = onnxplain.analyse(classifier, rows, NAME, labels=np.arange(50) % 3, rows=20, repeats=2)
    assert found.evaluations == 20 * (1 + 3 * 2)
    assert "20 of 50 rows were drawn" in found.notes


def test_channels_of_images_are_shuffled_together():
    opened_images = onnxplain.load(random_convolutions(0))
    images = np.random.default_rng(0).normal(size=(12, 3, 9, 9)).astype(np.float32)
    order = np.roll(np.arange(12), 1)[None]
    labels = np.arange(12) % 3
    spec = onnxplain.ModelSpec(
        task="classification", inputs={"image": onnxplain.InputSpec("image", "image", layout="NCHW")}
    )
    model = onnxplain.load(random_convolutions(0), spec=spec)
    found = onnxplain.analyse(model, images, NAME, labels=labels, permutations=order, score="auc")
    assert len(found.rows) == 3
    for name, value in zip(found.arrays["names"].tolist(), found.arrays["scores"][:, 0].tolist(), strict=True):
        channel = int(name.split()[-1])
        changed = images.copy()
        changed[:, channel] = images[order[0]][:, channel]
        scores = opened_images.predict(changed)["y"].astype(float)
        areas = []
        for k in range(3):
            a, b = scores[labels == k, k], scores[labels != k, k]
            areas.append((a[:, None] > b).mean() + (a[:, None] == b).mean() / 2)
        assert value == pytest.approx(np.mean(areas))


def test_positions_of_tokens_are_shuffled():
    tokens = np.random.default_rng(0).integers(0, 20, size=(16, 5))
    model = onnxplain.load(token_sums(0, words=20, length=5))
    found = onnxplain.analyse(model, tokens, NAME, labels=np.arange(16) % 2, repeats=2)
    assert len(found.rows) == 5
    assert found.evaluations == 16 * 11


def test_texts_of_different_lengths_are_shuffled_token_by_token(tmp_path):
    """Shuffled, a place takes its token and its mask: whoever gets a padded place loses the token, and no more."""
    (tmp_path / "texts").mkdir()
    texts = {"0-1": "film", "1-2": "moving film", "2-2": "moving moving film", "3-1": "dull"}
    for name, text in texts.items():
        (tmp_path / "texts" / f"{name}.txt").write_text(text)
    model = onnxplain.load(written(tmp_path, token_model(), tokenizer()), device="cpu")
    order = np.array([[1, 0, 3, 2]])
    settings = {"permutations": order, "score": "mse", "target": 1, "labels": np.zeros(4)}
    found = onnxplain.analyse(model, str(tmp_path / "texts"), NAME, **settings)
    worth = {"film": 0.25, "moving": 1.5, "dull": -2.0, "[SEP]": 32.0, "": 0.0}
    rows = [["film", "[SEP]", "", ""], ["moving", "film", "[SEP]", ""], ["moving", "moving", "film", "[SEP]"]]
    table = np.array([[worth[t] for t in row] for row in [*rows, ["dull", "[SEP]", "", ""]]])
    expected = {}
    for k in range(4):
        changed = table.copy()
        changed[:, k] = table[order[0], k]
        expected[f"[{k + 1}]"] = np.mean((16 + changed.sum(axis=1)) ** 2)  # 16 of [CLS]
    assert {row[0]: row[3] for row in found.rows if row[0] != "[0]"} == pytest.approx(expected, rel=1e-5)


def test_lines_of_a_text_file_are_rows(tmp_path):
    texts = ["film", "moving film", "moving moving film", "dull", "not"]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    (tmp_path / "texts.csv").write_text("\n".join(["text", *texts]))
    model = onnxplain.load(written(tmp_path, token_model(), tokenizer()), device="cpu")
    for rows, chosen in ((":1-3", texts[1:4]), ("", texts)):
        settings = {"score": "mse", "target": 1, "labels": np.arange(len(chosen)), "repeats": 3}
        by_text = onnxplain.analyse(model, [onnxplain.Text(text) for text in chosen], NAME, **settings)
        for kind in ("txt", "csv"):
            found = onnxplain.analyse(model, f"{tmp_path}/texts.{kind}{rows}", NAME, **settings)
            assert found == by_text
            assert found.manifest["data_digest"] == by_text.manifest["data_digest"]
    (tmp_path / "one.txt").write_text("film\n")
    with pytest.raises(InputError, match="there is one only"):
        onnxplain.analyse(model, tmp_path / "one.txt", NAME, labels=[0])
    (tmp_path / "gap.txt").write_text("film\n\ndull\n")
    with pytest.raises(InputError, match="the text is empty") as caught:
        onnxplain.analyse(model, tmp_path / "gap.txt", NAME, labels=[0, 1])
    assert caught.value.where.endswith("gap.txt, line 2: row 1")


def test_texts_beside_a_table_are_shuffled_too(tmp_path):
    """A string goes as a whole, with the words of its row: y = worths of two texts, the second twice, + w + 10 h."""
    spec = '[inputs.{0}]\nmodality = "text"\n'
    (tmp_path / "model.toml").write_text(spec.format("question_text") + spec.format("context_text"))
    (tmp_path / "rows.csv").write_text("question,w,context,h\nfilm,1,dull,0\nmoving,1,film,1\n")
    model = onnxplain.load(written(tmp_path, two_strings_model()), device="cpu")
    settings = {"permutations": np.array([[1, 0]]), "score": "mae", "target": 1, "labels": np.zeros(2)}
    found = onnxplain.analyse(model, str(tmp_path / "rows.csv"), NAME, **settings)
    y = {"question_text": [1.5 - 4 + 1, 0.25 + 0.5 + 11], "context_text": [0.25 + 0.5 + 1, 1.5 - 4 + 11]}
    y |= {"w": [0.25 - 4 + 1, 1.5 + 0.5 + 11], "h": [0.25 - 4 + 11, 1.5 + 0.5 + 1]}
    assert {row[0]: row[3] for row in found.rows} == pytest.approx({n: np.abs(v).mean() for n, v in y.items()})
    with pytest.raises(SettingError, match="those of one text"):
        onnxplain.analyse(model, str(tmp_path / "rows.csv"), NAME, **settings, features="words")
    curves = onnxplain.analyse(model, str(tmp_path / "rows.csv"), "partial-dependence", target=1)
    assert {row[0] for row in curves.rows} == {"h"}  # w is the same in all rows, and texts are no columns


def test_texts_alone_have_no_columns_to_draw_curves_of(tmp_path):
    model = onnxplain.load(written(tmp_path, token_model(), tokenizer()), device="cpu")
    (tmp_path / "rows.csv").write_text("text\nfilm\nmoving film\n")
    with pytest.raises(SettingError, match="the rows are texts"):
        onnxplain.analyse(model, str(tmp_path / "rows.csv"), "partial-dependence")


def test_groups_of_columns_are_shuffled_together(row_222):
    together = onnxplain.analyse(row_222, ROWS, NAME, labels=Y, score="mse", permutations=ORDER, features=[[0, 1, 1]])
    changed = ROWS.copy()
    changed[:, 1:] = ROWS[ORDER[0]][:, 1:]
    expected = ((row_222.predict(changed)["y"][:, 0] - Y) ** 2).mean() - 0.5
    assert by_name(together)["feature 1"] == pytest.approx(expected)


@pytest.mark.parametrize("space", ["Sigmoid", ""])
def test_a_single_score_is_that_of_the_second_class(space):
    nodes = [helper.make_node("Gemm", ["x", "w"], ["z"], transB=1)]
    nodes += [helper.make_node(space, ["z"], ["y"])] if space else [helper.make_node("Identity", ["z"], ["y"])]
    graph = model(nodes, {"x": ["batch", 3]}, {"y": ["batch", 1]}, {"w": np.array([[1, -1, 0.0]], np.float32)})
    rows = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    labels = (rows[:, 0] - rows[:, 1] > 0).astype(int)
    found = onnxplain.analyse(
        opened(graph, task="classification"), rows, NAME, labels=labels, score="accuracy", repeats=2
    )
    assert found.arrays["score"] == 1
    assert by_name(found)["town"] == 0
    assert by_name(found)["age"] > 0.2


def refused(model, rows=ROWS, **settings):
    with pytest.raises((InputError, SettingError)) as caught:
        onnxplain.analyse(model, rows, NAME, **settings)
    assert len(str(caught.value).splitlines()) <= 6
    return str(caught.value)


def test_what_makes_no_sense_is_refused(row_222, classifier):
    assert "no labels were given" in refused(row_222)
    assert "--labels" in refused(row_222)
    assert "there are 3 labels for 4 rows" in refused(row_222, labels=Y[:3])
    assert "did you mean 'accuracy'" in refused(row_222, labels=Y, score="acuracy")
    assert "accuracy is for classifiers" in refused(row_222, labels=Y, score="accuracy")
    assert "r2 is for models of one value" in refused(classifier, labels=[0, 1, 2, 0], score="r2")
    assert "there is one only" in refused(row_222, rows=ROWS[:1], labels=Y[:1])
    assert "r2 needs labels that differ" in refused(row_222, labels=[1, 1, 1, 1])
    assert "labels hold nan in row 1" in refused(row_222, labels=[1, np.nan, 2, 3])
    assert "labels must be numbers" in refused(row_222, labels=["a", "b", "c", "d"])
    assert "the label 3 in row 2 is no class" in refused(classifier, labels=[0, 1, 3, 0])
    assert "are these values?" in refused(classifier, labels=[0.5, 1, 3, 0])
    assert "did you mean 'dog'" in refused(classifier, labels=["dog", "cat", "dogg", "owl"])
    assert "auc needs rows of two classes" in refused(classifier, labels=[1, 1, 1, 1], score="auc")
    assert "once in each row" in refused(row_222, labels=Y, permutations=np.array([[0, 0, 1, 2]]))
    perfect = row_222.predict(ROWS)["y"][:, 0].astype(float)
    assert "no ratio to a loss of 0" in refused(row_222, labels=perfect, score="mse", form="ratio")
    gap = np.array([[1, np.nan, 2], [1, 2, 3]], np.float32)
    assert "missing value in column 'income'" in refused(row_222, rows=gap, labels=[1, 2])


def test_log_loss_needs_probabilities():
    model = opened(linear((1, 2, 3)), task="classification")
    assert "log-loss needs probabilities" in refused(model, labels=[0, 1, 1, 0], score="log-loss")


def test_a_column_that_never_changes_is_told(row_222):
    rows = ROWS.copy()
    rows[:, 2] = 1
    found = onnxplain.analyse(row_222, rows, NAME, labels=Y)
    assert by_name(found)["town"] == 0
    assert "the same in all rows, so that shuffling changes nothing: town" in found.notes


def test_one_hot_columns_are_shuffled_together():
    names = ("age", "town_bonn", "town_rome")
    entry = onnxplain.InputSpec("x", "table", columns=names)
    spec = onnxplain.ModelSpec(task="regression", inputs={"x": entry})
    mine = onnxplain.load(linear((1, 2, 5)), spec=spec)
    rows = np.array([(k, k % 2, 1 - k % 2) for k in range(6)], np.float32)
    y = rows @ [1, 2, 5]
    order = np.array([[1, 0, 2, 3, 4, 5]])
    found = onnxplain.analyse(mine, rows, NAME, labels=y, score="mse", permutations=order)
    assert by_name(found) == pytest.approx({"town": 2 * 9 / 6, "age": 2 * 1 / 6}, rel=1e-5)
