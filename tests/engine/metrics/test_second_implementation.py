"""Every metric of faithfulness, complexity and localisation again, in a slower and less complicated way.

A trained network, digits of a data set, and random maps of both signs: nothing here is round, sorted or without ties by
construction. The network is run a row at a time, and nothing of the metrics' own code is used.
"""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from skimage.measure import label

import onnxplain

SIDE, TARGET = 8, 3
CLOSE = {"rel": 2e-5, "abs": 2e-6}  # the network computes in float32


@pytest.fixture(scope="module")
def picture():
    from onnxplain.engine.explain import samples_of

    model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    path = onnxplain.models.samples("digits-cnn")[3]
    (sample,) = samples_of(model, str(path))
    return sample.feeds["image"]


@pytest.fixture(scope="module", params=[0, 1, 2])
def phi(request):
    """A random map: signed; non-negative with many zeros; with few different values, so that there are ties."""
    rng = np.random.default_rng(request.param)
    normal = rng.normal(size=(SIDE, SIDE))
    return [normal, np.maximum(normal, 0), np.round(normal)][request.param]


@pytest.fixture(scope="module")
def network(digits):
    """The logit and the probability of a class for one picture (8, 8), each run alone and kept."""
    known = {}

    def run(image, *, probability=False):
        row = np.asarray(image, np.float32).reshape(1, 1, SIDE, SIDE)
        if row.tobytes() not in known:
            known[row.tobytes()] = digits.activations(row, ["logits"])["logits"][0].astype(float)
        z = known[row.tobytes()]
        return float(np.exp(z - z.max())[TARGET] / np.exp(z - z.max()).sum()) if probability else float(z[TARGET])

    return run


@pytest.fixture
def score(digits, picture, phi):
    def found(metric, mask=None, **settings):
        given = {"target": TARGET, "mask": mask, "controls": False}
        (one,) = onnxplain.evaluate(digits, picture, phi, [(metric, settings)], **given)
        return one

    return found


def most_first(phi):
    """Return pixels (row, column) from the highest value to the lowest; of equal ones the first in reading order."""
    return sorted(np.ndindex(phi.shape), key=lambda at: -phi[at])


def without(image, pixels, other=0.0):
    """Return the picture with some pixels replaced."""
    found = image.copy()
    for at in pixels:
        found[at] = other if np.isscalar(other) else other[at]
    return found


def trapezoids(x, y):
    return sum((x[k + 1] - x[k]) * (y[k] + y[k + 1]) / 2 for k in range(len(x) - 1)) / (x[-1] - x[0])


def cells(across):
    """Return the pixels of each cell of a grid of squares, row by row."""
    wide = SIDE // across
    return [
        [(wide * i + a, wide * j + b) for a in range(wide) for b in range(wide)]
        for i in range(across)
        for j in range(across)
    ]


def test_deletion_and_insertion(score, network, picture, phi):
    """Petsiuk et al. 2018, algorithm of section 4.2, a pixel at a time."""
    image, order = picture[0, 0], most_first(phi)
    removed = [network(without(image, order[:k]), probability=True) for k in range(65)]
    put_in = [network(without(image, order[k:]), probability=True) for k in range(65)]
    for metric, y in (("deletion", removed), ("insertion", put_in)):
        found = score(metric, baseline=0)
        assert found.curve[1] == pytest.approx(y, **CLOSE)
        assert found.value == pytest.approx(trapezoids(np.linspace(0, 1, 65), y), **CLOSE)
        expected = (found.value - removed[-1]) / (removed[0] - removed[-1])
        assert found.parts["normalised"] == pytest.approx(expected, rel=1e-4)


def test_pixel_flipping(score, network, picture, phi):
    """Bach et al. 2015: the score itself, until a fifth of 64 pixels is gone; the least relevant first as well."""
    image, order = picture[0, 0], most_first(phi)
    backwards = sorted(np.ndindex(phi.shape), key=lambda at: phi[at])
    for name, places in (("most", order), ("least", backwards)):
        y = [network(without(image, places[:k], 0.7)) for k in range(14)]
        found = score("pixel-flipping", baseline=0.7, order=name)
        assert found.value == pytest.approx(trapezoids(range(14), y), **CLOSE)


def test_region_perturbation(score, network, picture, phi):
    """Samek et al. 2017, eq. 12: squares of 3 pixels, those at the far edges of 2, by the mean of the map."""
    image = picture[0, 0]
    squares = [
        [(r, c) for r in range(i, min(i + 3, SIDE)) for c in range(j, min(j + 3, SIDE))]
        for i in (0, 3, 6)
        for j in (0, 3, 6)
    ]
    order = sorted(range(9), key=lambda k: -np.mean([phi[at] for at in squares[k]]))
    other = np.random.default_rng(7).random((SIDE, SIDE))
    drops, gone = [0.0], []
    for k in order[:5]:
        gone += squares[k]
        drops.append(network(image) - network(without(image, gone, other.astype(np.float32))))
    found = score("region-perturbation", pixels=3, steps=5, baseline=other[None, None].astype(np.float32))
    assert found.curve[1] == pytest.approx(drops, **CLOSE)
    assert found.value == pytest.approx(sum(drops) / 6, **CLOSE)


def test_road(score, network, picture, phi):
    """Rong et al. 2022: filled in by iteration, until nothing changes, not by solving equations."""
    image, order = picture[0, 0].astype(float), most_first(phi)
    near = [(a, b, 1 / 6 if a * b == 0 else 1 / 12) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    y = []
    for share in (0.2, 0.6):
        removed = order[: round(share * 64)]
        filled = without(image, removed, float(image.mean()))
        for _ in range(2000):
            for row, column in removed:
                around = [
                    (w, filled[row + a, column + b])
                    for a, b, w in near
                    if 0 <= row + a < SIDE and 0 <= column + b < SIDE
                ]
                new = sum(w * v for w, v in around) / sum(w for w, _ in around)
                change = abs(new - filled[row, column])
                filled[row, column] = new
            if change < 1e-9:
                break
        y.append(network(filled, probability=True))
    found = score("road", shares=(0.2, 0.6), noise=0.0)
    assert found.curve[1] == pytest.approx([network(image, probability=True), *y], rel=1e-3, abs=1e-5)
    assert found.value == pytest.approx(np.mean(y), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("metric", ["faithfulness-correlation", "mu-fidelity"])
def test_correlation_of_sums_and_falls(metric, score, network, picture, phi):
    """Bhatt et al. 2020, definition 3: Pearson's over pixels, ranks over cells."""
    image, rng = picture[0, 0], np.random.default_rng(5)
    parts = [[at] for at in np.ndindex(phi.shape)] if metric == "faithfulness-correlation" else cells(4)
    sets = [rng.choice(len(parts), max(2, len(parts) // 5), replace=False).tolist() for _ in range(30)]
    gone = [[at for k in one for at in parts[k]] for one in sets]
    sums = [sum(phi[at] for at in pixels) for pixels in gone]
    falls = [network(image) - network(without(image, pixels)) for pixels in gone]
    measure = pearsonr if metric == "faithfulness-correlation" else spearmanr
    features = "pixels" if metric == "faithfulness-correlation" else "grid:4"
    found = score(metric, sets=sets, features=features, baseline=0)
    assert found.value == pytest.approx(measure(sums, falls).statistic, abs=1e-5)


def test_sensitivity_n(score, network, picture, phi):
    """Ancona et al. 2018: all sets of 1, 2 and 3 of four quarters, and the mean over the sizes."""
    image, quarters = picture[0, 0], cells(2)
    found = score("sensitivity-n", features="grid:2", sizes=(1, 2, 3), baseline=0)
    expected = []
    for n in (1, 2, 3):
        gone = [[at for k in one for at in quarters[k]] for one in combinations(range(4), n)]
        sums = [sum(phi[at] for at in pixels) for pixels in gone]
        falls = [network(image) - network(without(image, pixels)) for pixels in gone]
        expected.append(pearsonr(sums, falls).statistic)
    assert found.curve[1] == pytest.approx(expected, abs=1e-5)
    assert found.value == pytest.approx(np.mean(expected), abs=1e-5)


def test_one_feature_at_a_time(score, network, picture, phi):
    """Alvarez-Melis & Jaakkola 2018 (linear), Selvaraju et al. 2017 (ranks of means), Nguyen & Martinez 2020 (sets)."""
    image, parts = picture[0, 0], cells(4)
    falls = np.array([network(image) - network(without(image, pixels)) for pixels in parts])
    sums = np.array([sum(phi[at] for at in pixels) for pixels in parts])
    given = {"features": "grid:4", "baseline": 0}
    assert score("faithfulness-estimate", **given).value == pytest.approx(pearsonr(sums, falls).statistic, abs=1e-5)
    ranks = spearmanr(sums / 4, falls).statistic
    assert score("occlusion-rank-correlation", **given).value == pytest.approx(ranks, abs=1e-5)
    silent, idle = np.abs(sums) <= 0.1 * np.abs(sums).max(), np.abs(falls) <= 0.1 * np.abs(falls).max()
    found = score("non-sensitivity", epsilon=0.1, **given)
    assert found.value == sum(a != b for a, b in zip(silent, idle, strict=True)) / 16


def test_monotonicity(score, network, picture, phi):
    """Arya et al. 2019: cells put in from the least important on; the step from the bare baseline is left out."""
    image, parts = picture[0, 0], cells(4)
    order = sorted(range(16), key=lambda k: np.mean([phi[at] for at in parts[k]]))
    y = [network(without(image, [at for k in order[n:] for at in parts[k]])) for n in range(17)]
    found = score("monotonicity", features="grid:4", baseline=0)
    assert found.curve[1] == pytest.approx(y, **CLOSE)
    rises = [after >= before for before, after in pairwise(y[1:])]
    assert (found.value, found.parts["rising"]) == (float(all(rises)), pytest.approx(np.mean(rises)))


def test_infidelity(score, network, picture, phi):
    """Yeh et al. 2019, definition 2.1, with given I, and the best factor on the attributions."""
    image, rng = picture[0, 0].astype(float), np.random.default_rng(9)
    changes = rng.normal(0, 0.2, (12, SIDE, SIDE))
    a = np.array([(one * phi).sum() for one in changes])
    d = np.array([network(image) - network(image - one) for one in changes])
    found = score("infidelity", values="gradient", perturbations=changes[:, None])
    assert found.value == pytest.approx(np.mean((a - d) ** 2), rel=1e-4)
    best = min(np.linspace(-2, 2, 4_001), key=lambda beta: np.mean((beta * a - d) ** 2))
    assert found.parts["factor"] == pytest.approx(best, abs=1e-3)
    assert found.parts["scaled"] == pytest.approx(np.mean((best * a - d) ** 2), rel=1e-4)


def test_seen_through_the_map(score, network, picture, phi):
    """Chattopadhay et al. 2018: the picture times the map."""
    image = picture[0, 0].astype(float)
    low, high = phi.min(), phi.max()
    Y, O = (network(one, probability=True) for one in (image, image * (phi - low) / (high - low)))  # noqa: E741 - the paper's
    assert score("average-drop", baseline=0).value == pytest.approx(max(0, Y - O) / Y * 100, rel=1e-4)
    assert score("average-increase", baseline=0).value == float(Y < O)
    assert score("average-gain", baseline=0).value == pytest.approx(max(0, O - Y) / (1 - Y) * 100, rel=1e-4, abs=1e-6)


def test_complexity(score, phi):
    """The Gini index as the mean difference of all pairs, the entropy and the number of order 2 term by term."""
    a = np.abs(phi).ravel()
    pairs = sum(abs(x - y) for x in a for y in a)
    assert score("sparseness").value == pytest.approx(pairs / (2 * 64 * a.sum()))
    entropy = -sum(x / a.sum() * math.log(x / a.sum()) for x in a if x)
    assert score("entropy").value == pytest.approx(entropy)
    assert score("effective-size").value == pytest.approx(1 / sum((x / a.sum()) ** 2 for x in a))


def test_localisation(score, phi):
    """Zhang et al. 2018, Arras et al. 2022, Zhou et al. 2016 and Selvaraju et al. 2017, pixel by pixel."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[2:6, 1:5] = True
    inside, order = set(zip(*map(list, np.nonzero(mask)), strict=True)), most_first(phi)
    hit = (order[0][0], order[0][1]) in inside
    assert score("pointing-game", mask).value == float(hit)
    positive = {at: max(0, phi[at]) for at in np.ndindex(phi.shape)}
    mass = sum(positive[at] for at in inside) / sum(positive.values())
    assert score("relevance-mass", mask).value == pytest.approx(mass)
    assert score("relevance-rank", mask).value == len(inside & set(order[:16])) / 16
    above = {at for at in positive if phi[at] > 0.2 * phi.max()}
    assert score("iou", mask, threshold=0.2).value == pytest.approx(len(inside & above) / len(inside | above))
    regions = label(phi > 0.15 * phi.max(), connectivity=1)
    most = max(range(1, regions.max() + 1), key=lambda k: (regions == k).sum())
    rows, columns = np.nonzero(regions == most)
    box = {(r, c) for r in range(rows.min(), rows.max() + 1) for c in range(columns.min(), columns.max() + 1)}
    found = score("box-error", mask)
    assert found.parts["iou"] == pytest.approx(len(inside & box) / len(inside | box))
    assert found.value == float(found.parts["iou"] < 0.5)
