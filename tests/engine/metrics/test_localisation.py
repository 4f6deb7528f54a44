"""Localisation: maps against masks and boxes."""

import math

import numpy as np
import pytest

import onnxplain
from oracles.graphs import triple_sum

IMAGE = np.ones((1, 1, 5, 5), np.float32)


def found(phi, mask, metric, **settings):
    (score,) = onnxplain.evaluate(triple_sum(), IMAGE, phi, [(metric, settings)], target=0, mask=mask)
    return score


def peak(row, column, value=1.0):
    phi = np.zeros((5, 5))
    phi[row, column] = value
    return phi


def test_iou_of_as_many_pixels_as_the_mask_has_and_above_a_threshold():
    phi = np.zeros((5, 5))
    phi[0] = (5, 4, 3, 0, 0)
    mask = np.zeros((5, 5))
    mask[0, 1:4] = 1
    assert found(phi, mask, "iou").value == pytest.approx(2 / 4)  # three of each, two in common
    assert found(phi, mask, "iou", threshold=0.7).value == pytest.approx(1 / 4)  # two above 3.5, one in common


@pytest.mark.parametrize(
    ("box", "expected", "iou"), [((0, 0, 3, 2), 0, 1), ((0, 0, 3, 4), 0, 0.5), ((0, 0, 3, 5), 1, 0.4)]
)
def test_box_error_is_one_where_the_boxes_share_less_than_half(box, expected, iou):
    phi = np.full((5, 5), 0.1)
    phi[:2, :3] = 1  # its box above 15 % of the maximum is x 0 to 3, y 0 to 2
    score = found(phi, box, "box-error")
    assert score.value == expected
    assert score.parts["iou"] == pytest.approx(iou)


@pytest.mark.parametrize(
    ("boxes", "expected", "iou"),
    [
        (((0, 0, 3, 2), (3, 3, 5, 5)), 0, 1),  # the first is found
        (((3, 3, 5, 5), (0, 0, 3, 4)), 0, 0.5),  # the second is, by half; the box round both would be missed
        (((3, 3, 5, 5), (0, 0, 3, 5)), 1, 0.4),
    ],
)
def test_box_error_takes_any_of_several_boxes_for_a_hit(boxes, expected, iou):
    phi = np.full((5, 5), 0.1)
    phi[:2, :3] = 1
    score = found(phi, boxes, "box-error")
    assert score.value == expected
    assert score.parts["iou"] == pytest.approx(iou)


def test_the_evidence_of_several_boxes_is_their_union():
    phi = np.arange(25.0).reshape(5, 5)
    union = np.zeros((5, 5))
    union[0:2, 0:3] = union[1:4, 2:5] = 1  # 6 + 9 - 1 pixels
    for metric in ("relevance-mass", "relevance-rank", "iou", "pointing-game"):
        assert found(phi, ((0, 0, 3, 2), (2, 1, 5, 4)), metric).value == found(phi, union, metric).value
    assert found(phi, ((0, 0, 3, 2), (2, 1, 5, 4)), "relevance-mass").parts["share of the area"] == 14 / 25


def test_boxes_that_together_cover_everything_say_nothing():
    with pytest.raises(onnxplain.InputError, match=r"the mask covers everything\n.*\(0, 0, 5, 3\), \(0, 3, 5, 5\)"):
        found(peak(0, 0), ((0, 0, 5, 3), (0, 3, 5, 5)), "relevance-mass")


def test_a_mask_that_is_not_finite_is_refused():
    mask = np.zeros((5, 5))
    mask[0, 0] = math.nan
    with pytest.raises(onnxplain.InputError, match="the mask holds numbers that are not finite"):
        found(peak(0, 0), mask, "relevance-mass")


@pytest.mark.parametrize(("tolerance", "hit"), [(0, 0), (1, 0), (2, 1)])
def test_the_pointing_game_tolerates_a_point_near_the_mask(tolerance, hit):
    mask = np.zeros((5, 5))
    mask[2, 4] = 1
    assert found(peak(2, 2), mask, "pointing-game", tolerance=tolerance).value == hit


def test_a_box_and_a_mask_say_the_same(tmp_path):
    from PIL import Image

    mask = np.zeros((5, 5), np.uint8)
    mask[1:4, 2:5] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", mask)
    phi = np.random.default_rng(0).random((5, 5))
    values = {
        found(phi, where, "relevance-mass").value
        for where in (mask, mask[None], (2, 1, 5, 4), [2, 1, 5, 4], str(tmp_path / "mask.png"), tmp_path / "mask.npy")
    }
    assert len(values) == 1


def test_a_mask_for_each_input():
    rows = np.concatenate([IMAGE, IMAGE])
    masks = [(0, 0, 1, 1), (1, 1, 2, 2)]
    maps = [peak(0, 0), peak(0, 0)]
    (score,) = onnxplain.evaluate(triple_sum(), rows, maps, ["pointing-game"], target=0, mask=masks)
    assert score.samples == (1, 0)
    assert score.is_share
    assert score.interval == pytest.approx((0.0945, 0.9055), abs=1e-4)  # Wilson, 1 of 2
    with pytest.raises(onnxplain.InputError, match="3 masks were given for 2 inputs"):
        onnxplain.evaluate(triple_sum(), rows, maps, ["pointing-game"], target=0, mask=[*masks, masks[0]])


def test_channels_are_added_up_where_they_differ():
    from oracles.graphs import random_convolutions

    phi = np.zeros((1, 3, 9, 9))
    phi[0, 0, 4, 4], phi[0, 1, 4, 4] = 5, -5  # nothing, over the channels
    phi[0, 2, 1, 1] = 2
    image = np.ones((1, 3, 9, 9), np.float32)
    (score,) = onnxplain.evaluate(random_convolutions(0), image, phi, ["relevance-mass"], target=0, mask=(1, 1, 2, 2))
    assert score.value == 1


@pytest.mark.parametrize("metric", ["relevance-mass", "box-error"])
def test_a_map_without_anything_positive_has_no_mass_and_no_box(metric):
    score = found(-peak(1, 1), (0, 0, 2, 2), metric)
    assert math.isnan(score.value)
    assert score.notes[0].startswith("undefined")


def test_a_map_that_is_the_same_everywhere_has_the_share_of_the_area():
    score = found(np.ones((5, 5)), (0, 0, 2, 2), "relevance-mass")
    assert score.value == score.parts["share of the area"] == pytest.approx(4 / 25)
    for metric in ("pointing-game", "relevance-rank", "iou", "box-error"):
        assert math.isnan(found(np.ones((5, 5)), (0, 0, 2, 2), metric).value)


def test_columns_have_masks_too():
    from oracles.graphs import linear

    x, phi = np.ones((1, 4), np.float32), np.array([4.0, 2, 1, 3])
    (score,) = onnxplain.evaluate(
        linear((4, 2, 1, 3)), x, phi, ["relevance-rank"], target=0, mask=np.array([1, 0, 0, 1])
    )
    assert score.value == 1
    with pytest.raises(onnxplain.SettingError, match="a box is for images"):
        onnxplain.evaluate(linear((4, 2, 1, 3)), x, phi, ["relevance-rank"], target=0, mask=(0, 0, 1, 1))


@pytest.mark.parametrize(
    ("by", "metric", "higher"),
    [
        ("mass", "relevance-mass", True),
        ("rank", "relevance-rank", True),
        ("pointing", "pointing-game", True),
        ("iou", "iou", True),
        ("box", "box-error", False),
    ],
)
def test_localisation_is_the_metric_that_is_chosen(by, metric, higher):
    phi = np.random.default_rng(1).random((5, 5))
    score, other = found(phi, (0, 0, 3, 2), "localisation", by=by), found(phi, (0, 0, 3, 2), metric)
    assert score.value == other.value
    assert (score.higher_is_better, score.is_share, score.range) == (higher, other.is_share, (0, 1))


def test_shares_of_ties_are_no_hits_and_have_the_interval_of_a_mean():
    rows = np.concatenate([IMAGE, IMAGE])
    phi = peak(0, 0) + peak(4, 4)
    known = {"target": 0, "mask": [(0, 0, 1, 1), (0, 0, 3, 3)], "controls": False}
    (score,) = onnxplain.evaluate(
        triple_sum(), rows, [phi, peak(1, 1)], [("pointing-game", {"ties": "share"})], **known
    )
    assert score.samples == (0.5, 1)
    assert not score.is_share
    assert score.interval == (0, 1)  # Student's t of two values is wider than all there can be; Wilson's is not


def test_signed_values_that_cancel_out_but_for_rounding_have_no_share():
    phi = np.zeros((5, 5))
    phi[0, :3] = (0.1, 0.2, -0.3)
    assert 0 < abs(phi.sum()) < 1e-15
    score = found(phi, (0, 0, 2, 2), "relevance-mass", signs="signed")
    assert math.isnan(score.value)
    assert "adds up to 0" in score.notes[0]
