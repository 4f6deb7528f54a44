"""Recipes of models of tables, trained with scikit-learn on data that it ships, and converted by skl2onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .folder import Spec, write_model, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

FOREST = "breast-cancer-forest"
MLP = "wine-mlp"
BOOSTING = "diabetes-boosting"
IRIS = "iris-logistic"
LOGISTIC = "breast-cancer-logistic"
PROGRESSION = "disease progression"
BACKGROUND_ROWS = 100
SEED = 0
OPSETS = {"": 17, "ai.onnx.ml": 1}


class Table(NamedTuple):
    """A labelled table, split into the rows to train on and those held out; columns and classes by name.

    Without classes the labels are numbers to be predicted.
    """

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray
    held_out_rows: np.ndarray
    held_out_labels: np.ndarray


def _split(data: Any, columns: tuple[str, ...], classes: tuple[str, ...]) -> Table:
    from sklearn.model_selection import train_test_split

    rows, held_out, labels, held_out_labels = train_test_split(
        data.data, data.target, test_size=0.25, random_state=SEED, stratify=data.target if classes else None
    )
    return Table(columns, classes, rows, labels, held_out, held_out_labels)


def breast_cancer() -> Table:
    """Return 569 tumours, 30 measurements each: the mean, standard error and worst value of ten properties."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return _split(data, tuple(map(str, data.feature_names)), tuple(map(str, data.target_names)))


def wine() -> Table:
    """Return 178 wines of three cultivars, 13 chemical measurements each."""
    from sklearn.datasets import load_wine

    data = load_wine()
    return _split(data, tuple(map(str, data.feature_names)), ("cultivar 1", "cultivar 2", "cultivar 3"))


def iris() -> Table:
    """Return 150 irises of three species, four measurements each."""
    from sklearn.datasets import load_iris

    data = load_iris()
    return _split(data, tuple(map(str, data.feature_names)), tuple(map(str, data.target_names)))


def diabetes() -> Table:
    """Return 442 patients, ten measurements each, and a measure of how far diabetes has got a year later (25 to 346).

    Values are as they were measured: years, kg/m2, mm Hg and mg/dl; sex is 1 or 2.
    """
    from sklearn.datasets import load_diabetes

    columns = ("age", "sex", "body mass index", "blood pressure", "cholesterol", "low-density lipoproteins")
    more = ("high-density lipoproteins", "cholesterol / high-density", "log of triglycerides", "blood sugar")
    return _split(load_diabetes(scaled=False), (*columns, *more), ())


def _convert(estimator: Any, table: Table, *, zipmap: bool) -> onnx.ModelProto:
    """Convert a fitted estimator; with ``zipmap``, skl2onnx's default, probabilities come out as dicts."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    model: onnx.ModelProto = to_onnx(
        estimator,
        initial_types=[("features", FloatTensorType([None, len(table.columns)]))],
        target_opset=OPSETS,
        options={"zipmap": zipmap} if table.classes else None,
    )
    return model


def _write(folder: Path, name: str, model: onnx.ModelProto, table: Table, output: str) -> None:
    spec = Spec(
        input="features",
        top={
            "task": "classification" if table.classes else "regression",
            "target": "top",
            "output": output,
            "labels": table.classes or (PROGRESSION,),
            "background": "background.csv",
        },
        fields={"modality": "table", "layout": "NF", "columns": table.columns},
    )
    write_model(folder, name, model, spec)
    drawn = np.random.default_rng(SEED).permutation(len(table.rows))[:BACKGROUND_ROWS]
    write_table(folder / "background.csv", table.columns, table.rows[drawn].tolist())
    samples = folder / "samples"
    samples.mkdir()
    write_table(samples / "held-out.csv", table.columns, table.held_out_rows.tolist())
    labels = [[table.classes[k] if table.classes else float(k)] for k in table.held_out_labels]
    write_table(folder / "held-out-labels.csv", ["class" if table.classes else "target"], labels)


def write_forest(folder: Path, _: Mapping[str, Path]) -> None:
    """Train a random forest of 100 trees on the breast cancer data; its ONNX file keeps the ZipMap."""
    from sklearn.ensemble import RandomForestClassifier

    table = breast_cancer()
    forest = RandomForestClassifier(n_estimators=100, random_state=SEED).fit(table.rows, table.labels)
    _write(folder, FOREST, _convert(forest, table, zipmap=True), table, "output_probability")


def write_mlp(folder: Path, _: Mapping[str, Path]) -> None:
    """Train a pipeline of a standard scaler and a perceptron with 32 hidden units on the wine data."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = wine()
    network = MLPClassifier((32,), random_state=SEED, max_iter=2000)
    pipeline = make_pipeline(StandardScaler(), network).fit(table.rows, table.labels)
    _write(folder, MLP, _convert(pipeline, table, zipmap=False), table, "probabilities")


def write_boosting(folder: Path, _: Mapping[str, Path]) -> None:
    """Train 200 boosted trees of depth 2 on the diabetes data, a regression: R2 is 0.31 on the rows held out."""
    from sklearn.ensemble import GradientBoostingRegressor

    table = diabetes()
    trees = GradientBoostingRegressor(
        n_estimators=200, learning_rate=0.03, max_depth=2, subsample=0.5, min_samples_leaf=10, random_state=SEED
    )
    _write(folder, BOOSTING, _convert(trees.fit(table.rows, table.labels), table, zipmap=False), table, "variable")


def _logistic(folder: Path, name: str, table: Table) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(table.rows, table.labels)
    _write(folder, name, _convert(pipeline, table, zipmap=False), table, "probabilities")


def write_iris(folder: Path, _: Mapping[str, Path]) -> None:
    """Train a standard scaler and a logistic regression on the iris data."""
    _logistic(folder, IRIS, iris())


def write_logistic(folder: Path, _: Mapping[str, Path]) -> None:
    """Train a standard scaler and a logistic regression on the breast cancer data."""
    _logistic(folder, LOGISTIC, breast_cancer())
