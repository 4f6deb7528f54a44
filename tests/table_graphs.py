"""Models of tables as exporters write them: boosted trees of LightGBM and XGBoost, and a pipeline of mixed columns."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from small_graphs import model_of

FLOAT, INT, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
COLOURS, CITIES = ("blue", "green", "red"), ("", "Lima", "Oslo")
# of age, visits (scaled), then the colours and the cities
WEIGHTS = np.array([0.5, -1.0, 1.0, 0.0, 2.0, 0.25, -0.5, 3.0], dtype=np.float32)
MEDIANS, OFFSETS, SCALES = (40.0, 4.0), (40.0, 4.0), (0.1, 0.5)


def stump_attributes(classes: int) -> dict:
    """Per class a tree: x[k] < 2 + k goes left, to -1; else right, to +1. Missing values go left for even k."""
    nodes, leaves = [], []
    for k in range(classes):
        nodes += [(k, 0, k, "BRANCH_LT", 2.0 + k, 1, 2, 1 - k % 2), (k, 1, 0, "LEAF", 0.0, 0, 0, 0)]
        nodes.append((k, 2, 0, "LEAF", 0.0, 0, 0, 0))
        leaves += [(k, 1, k, -1.0), (k, 2, k, 1.0)]
    trees, ids, features, modes, values, yes, no, missing = map(list, zip(*nodes, strict=True))
    of, at, target, weight = map(list, zip(*leaves, strict=True))
    return {
        "nodes_treeids": trees,
        "nodes_nodeids": ids,
        "nodes_featureids": features,
        "nodes_modes": modes,
        "nodes_values": values,
        "nodes_truenodeids": yes,
        "nodes_falsenodeids": no,
        "nodes_missing_value_tracks_true": missing,
        "class_treeids": of,
        "class_nodeids": at,
        "class_ids": target,
        "class_weights": weight,
        "classlabels_int64s": list(range(classes)),
        "post_transform": "SOFTMAX",
    }


def xgboost_like(classes: int = 3) -> onnx.ModelProto:
    """A classifier as onnxmltools writes XGBoost's: one node that gives a label and a tensor of probabilities."""
    node = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "probabilities"], domain="ai.onnx.ml", **stump_attributes(classes)
    )
    outputs = {"label": (INT, [None]), "probabilities": (FLOAT, [None, classes])}
    return model_of([node], {"x": (FLOAT, [None, classes])}, outputs, domains={"ai.onnx.ml": 1})


def lightgbm_like(classes: int = 3) -> onnx.ModelProto:
    """A classifier as onnxmltools writes LightGBM's: a label declared as of one row, and a ZipMap."""
    nodes = [
        helper.make_node("TreeEnsembleClassifier", ["x"], ["l", "p"], domain="ai.onnx.ml", **stump_attributes(classes)),
        helper.make_node("Identity", ["l"], ["label"]),
        helper.make_node("Identity", ["p"], ["q"]),
        helper.make_node("ZipMap", ["q"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=range(classes)),
    ]
    made = model_of(nodes, {"x": (FLOAT, [None, classes])}, {"label": (INT, [1])}, opset=9, domains={"ai.onnx.ml": 1})
    entry = helper.make_map_type_proto(INT, helper.make_tensor_type_proto(FLOAT, []))
    made.graph.output.append(helper.make_value_info("probabilities", helper.make_sequence_type_proto(entry)))
    made.ir_version = 4
    return made


def probabilities(rows: np.ndarray) -> np.ndarray:
    """What these classifiers give, in NumPy."""
    k = np.arange(rows.shape[1])
    left = np.where(np.isnan(rows), k % 2 == 0, rows < 2.0 + k)
    score = np.exp(np.where(left, -1.0, 1.0))
    return score / score.sum(axis=1, keepdims=True)


def pipeline(*, zeros: int = 1) -> onnx.ModelProto:
    """A regression with an input per column, as skl2onnx writes a ColumnTransformer: linear in the encoded columns."""
    encoders = [
        helper.make_node("OneHotEncoder", [n], [f"{n}_hot"], domain="ai.onnx.ml", cats_strings=names, zeros=zeros)
        for n, names in (("colour", COLOURS), ("city", CITIES))
    ]
    nodes = [
        helper.make_node("Cast", ["visits"], ["visits_float"], to=FLOAT),
        helper.make_node("Concat", ["age", "visits_float"], ["numbers"], axis=1),
        helper.make_node(
            "Imputer",
            ["numbers"],
            ["whole"],
            domain="ai.onnx.ml",
            imputed_value_floats=MEDIANS,
            replaced_value_float=float("nan"),
        ),
        helper.make_node("Scaler", ["whole"], ["scaled"], domain="ai.onnx.ml", offset=OFFSETS, scale=SCALES),
        *encoders,
        helper.make_node("Concat", ["colour_hot", "city_hot"], ["hot"], axis=2),
        helper.make_node("Reshape", ["hot", "rows"], ["flat"]),
        helper.make_node("Concat", ["scaled", "flat"], ["encoded"], axis=1),
        helper.make_node(
            "LinearRegressor", ["encoded"], ["price"], domain="ai.onnx.ml", coefficients=WEIGHTS, intercepts=[10.0]
        ),
    ]
    inputs = {name: (kind, [None, 1]) for name, kind in KINDS.items()}
    rows = np.array([-1, len(COLOURS) + len(CITIES)])
    return model_of(nodes, inputs, {"price": (FLOAT, [None, 1])}, {"rows": rows}, domains={"ai.onnx.ml": 1})


KINDS = {"age": FLOAT, "visits": INT, "colour": TEXT, "city": TEXT}


def contributions(age: float, visits: int, colour: str, city: str) -> np.ndarray:
    """What each column adds to the price of ``pipeline``, in float64."""
    known = MEDIANS[0] if np.isnan(age) else age
    hot = [WEIGHTS[2 + COLOURS.index(colour)] if colour in COLOURS else 0.0]
    hot += [WEIGHTS[5 + CITIES.index(city)] if city in CITIES else 0.0]
    numbers = [(known - OFFSETS[0]) * SCALES[0] * WEIGHTS[0], (visits - OFFSETS[1]) * SCALES[1] * WEIGHTS[1]]
    return np.array([*numbers, *hot], dtype=np.float64)
