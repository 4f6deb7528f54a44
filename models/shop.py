"""Recipe of a pipeline of mixed columns: numbers with gaps, whole numbers and text, an input of the model for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .folder import Spec, write_model, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "shop-pipeline"
SEED = 0
CUSTOMERS, HELD_OUT, BACKGROUND_ROWS = 2000, 200, 100
NUMBERS = ("age", "basket")  # years, and euros of the last purchase; NaN where it is not known
WHOLE = ("visits", "returns")  # last month, and articles sent back
CITIES = ("Lima", "Oslo", "Rome", "Turku")
PLANS = ("basic", "plus")
DEVICES = ("desktop", "phone", "tablet")
TEXTS = {"city": CITIES, "plan": PLANS, "device": DEVICES}
COLUMNS = (*NUMBERS, *WHOLE, *TEXTS)
CLASSES = ("leaves", "buys again")
MISSING = 0.08  # of the ages and baskets


class Customers(NamedTuple):
    """Made-up customers: their columns by name, and whether they bought again."""

    columns: dict[str, np.ndarray]
    again: np.ndarray

    def rows(self) -> list[list[Any]]:
        """Return the customers as rows of a file: what is not known is an empty cell."""
        lists = [["" if v != v else v for v in self.columns[name].tolist()] for name in COLUMNS]  # noqa: PLR0124 - NaN
        return [list(row) for row in zip(*lists, strict=True)]


def customers() -> Customers:
    """Draw customers: who buys again visits often, is on the plan 'plus', sends little back and is not from Oslo."""
    rng = np.random.default_rng(SEED)
    columns: dict[str, np.ndarray] = {
        "age": rng.normal(42, 13, CUSTOMERS).clip(18, 90).round(),
        "basket": rng.gamma(2.0, 22.0, CUSTOMERS).round(2),
        "visits": rng.poisson(4, CUSTOMERS),
        "returns": rng.poisson(0.6, CUSTOMERS),
        **{name: rng.choice(values, CUSTOMERS) for name, values in TEXTS.items()},
    }
    score = (
        0.5 * (columns["visits"] - 4)
        + 0.012 * (columns["basket"] - 44)
        - 0.9 * columns["returns"]
        + 1.6 * (columns["plan"] == "plus")
        - 1.1 * (columns["city"] == "Oslo")
        + 0.5 * (columns["device"] == "phone")
        - 0.01 * (columns["age"] - 42)
    )
    again = score + rng.logistic(0, 0.7, CUSTOMERS) > 0.3
    for name in NUMBERS:
        columns[name][rng.random(CUSTOMERS) < MISSING] = np.nan
    return Customers(columns, again.astype(np.int64))


def pipeline() -> Any:
    """Return the untrained pipeline: medians for what is missing, one-hot columns for text, logistic regression."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    count = len(NUMBERS) + len(WHOLE)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OneHotEncoder(categories=[list(values) for values in TEXTS.values()], handle_unknown="ignore")
    parts = [("numbers", numbers, list(range(count))), ("texts", texts, list(range(count, len(COLUMNS))))]
    return make_pipeline(ColumnTransformer(parts), LogisticRegression(max_iter=1000))


def write(folder: Path, _: Mapping[str, Path]) -> None:
    """Train the pipeline on the customers but the last, and write it with an input per column."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    people = customers()
    table = np.array([people.columns[name].astype(object) for name in COLUMNS], dtype=object).T
    trained = pipeline().fit(table[:-HELD_OUT], people.again[:-HELD_OUT])
    kinds = dict.fromkeys(NUMBERS, FloatTensorType) | dict.fromkeys(WHOLE, Int64TensorType)
    model = to_onnx(
        trained,
        initial_types=[(name, kinds.get(name, StringTensorType)([None, 1])) for name in COLUMNS],
        target_opset={"": 17, "ai.onnx.ml": 1},
        options={"zipmap": False},
    )
    write_model(folder, NAME, model, _spec())
    rows = people.rows()
    drawn = np.random.default_rng(SEED).permutation(CUSTOMERS - HELD_OUT)[:BACKGROUND_ROWS]
    write_table(folder / "background.csv", COLUMNS, [rows[k] for k in drawn])
    samples = folder / "samples"
    samples.mkdir()
    write_table(samples / "held-out.csv", COLUMNS, rows[-HELD_OUT:])
    write_table(folder / "held-out-labels.csv", ["class"], [[CLASSES[k]] for k in people.again[-HELD_OUT:]])


def _spec() -> Spec:
    top = {
        "task": "classification",
        "target": "top",
        "output": "probabilities",
        "labels": CLASSES,
        "background": "background.csv",
    }
    fields = {name: {"modality": "table", "layout": "NF", "columns": (name,)} for name in COLUMNS}
    return Spec(
        input=COLUMNS[0],
        top=top,
        fields=fields[COLUMNS[0]],
        others={name: fields[name] for name in COLUMNS[1:]},
        categories={name: {name: values} for name, values in TEXTS.items()},
    )
