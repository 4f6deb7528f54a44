import dataclasses

import numpy as np
import pytest

from onnxplain.engine.errors import SettingError
from onnxplain.engine.render import side_by_side


def maps(made):
    """Return the axes that hold pictures, in order; colour bars hold none."""
    return [axes for axes in made.axes if axes.images]


def texts(made):
    return [text.get_text() for text in made.texts]


def test_picture_comes_first_and_each_map_has_its_own_limits(of_image, of_tiles):
    made = side_by_side([of_image, of_tiles])
    first, *others = maps(made)
    assert np.array_equal(first.images[0].get_array(), of_image.sample.image)
    limits = [axes.images[-1].get_clim() for axes in others]
    assert limits[1] == (-2.0, 2.0)
    assert limits[0] != limits[1]
    assert {"what the model sees", "occlusion", "ablation"} <= set(texts(made))


@pytest.mark.parametrize(("count", "in_rows"), [(1, [2]), (3, [4]), (4, [3, 2]), (5, [3, 3]), (7, [4, 4])])
def test_rows_hold_at_most_four_panels(of_tiles, count, in_rows):
    tops = [round(axes.get_position().y1, 6) for axes in maps(side_by_side([of_tiles] * count))]
    assert [tops.count(top) for top in sorted(set(tops), reverse=True)] == in_rows


def test_panels_do_not_overlap(of_tiles):
    made = side_by_side([of_tiles] * 7)
    boxes = [axes.get_position() for axes in made.axes]
    for k, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
        assert all(box.x1 <= b.x0 or b.x1 <= box.x0 or box.y1 <= b.y0 or b.y1 <= box.y0 for b in boxes[k + 1 :])


def test_targets_are_told_apart_where_they_differ(of_image):
    other = dataclasses.replace(of_image, label="tabby", score=3.25, manifest={"target_index": [281]})
    said = texts(side_by_side([of_image, other]))
    assert "several targets" in said
    assert "tabby (281), score 3.25" in said


def test_bars_share_the_rows_of_the_first(of_table):
    other = dataclasses.replace(of_table, method="ablation", feature_values=-of_table.feature_values[::-1])
    made = side_by_side([of_table, other], top=2)
    widths = [[bar.get_width() for bar in axes.patches] for axes in made.axes]
    assert widths == [[2.0, -1.25, 0.25], [1.25, -2.0, -0.25]]


def test_different_samples_are_refused(of_image, of_table):
    with pytest.raises(SettingError, match="same features"):
        side_by_side([of_image, of_table])
    another = dataclasses.replace(of_image.sample, image=of_image.sample.image[::-1])
    with pytest.raises(SettingError, match="not of one picture"):
        side_by_side([of_image, dataclasses.replace(of_image, sample=another)])
    with pytest.raises(SettingError, match="no explanation"):
        side_by_side([])
