import dataclasses
import io
import subprocess
import sys
import threading
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from onnxplain.engine.errors import InputError, SettingError
from onnxplain.engine.render import figure, png, save


def pixels(data):
    return Image.open(io.BytesIO(data))


def test_png_has_the_size_of_the_figure_at_its_dpi(of_tiles):
    width, height = figure(of_tiles).get_size_inches()
    for dpi in (50, 150):
        found = pixels(png(of_tiles, dpi=dpi))
        assert found.size == (int(width * dpi), int(height * dpi))
        assert found.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)


def test_same_explanation_gives_the_same_bytes(of_tiles, tmp_path):
    first, second = (save(of_tiles, tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second
    assert png(of_tiles, dpi=60) == png(of_tiles, dpi=60)


def test_svg_holds_text_as_text_and_no_date(of_table, tmp_path):
    whole = save(of_table, tmp_path / "bars.SVG").read_text(encoding="utf-8")
    said = [element.text for element in ET.fromstring(whole).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - our own file
    assert "exact-shapley: churn (1), score 1.75" in said
    assert "dc:date" not in whole


def test_hostile_names_stay_text_in_svg(of_table, tmp_path):
    names = ("</text><script>alert(1)</script>", "]]>", "&lt;", "\x00\x1b[0m", "--><x")
    whole = save(dataclasses.replace(of_table, feature_names=names, sample=None), tmp_path / "x.svg").read_text()
    root = ET.fromstring(whole)  # noqa: S314 - our own file
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    said = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"</text><script>alert(1)</script>", "]]>", "&lt;", "\\x00\\x1b[0m", "--><x"} <= said


def test_other_suffixes_are_refused(of_table, tmp_path):
    with pytest.raises(SettingError, match=r"not as 'bars\.pdf'"):
        save(of_table, tmp_path / "bars.pdf")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_an_error(of_table, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        save(of_table, tmp_path / "file" / "bars.png")


def test_a_figure_is_saved_as_it_is(of_table, tmp_path):
    made = figure(of_table, title="mine")
    canvas = made.canvas
    assert "mine" in save(made, tmp_path / "made.svg").read_text()
    assert made.canvas is canvas
    with pytest.raises(SettingError, match="'title' comes too late"):
        save(made, tmp_path / "made.svg", title="other")


def test_dpi_out_of_range_is_refused(of_table):
    with pytest.raises(SettingError, match="dpi"):
        png(of_table, dpi=100_000)


def test_settings_of_matplotlib_are_left_as_they_were(of_tiles, tmp_path):
    before = dict(mpl.rcParams)
    save(of_tiles, tmp_path / "a.svg")
    png(of_tiles, dpi=50)
    assert dict(mpl.rcParams) == before


def test_a_users_style_does_not_change_the_picture(of_tiles):
    usual = png(of_tiles, dpi=50)
    style = {
        "axes.facecolor": "black",
        "axes.grid": True,
        "figure.facecolor": "black",
        "figure.autolayout": True,
        "font.family": "serif",
        "font.size": 30,
        "image.cmap": "jet",
        "image.interpolation": "gaussian",
        "savefig.bbox": "tight",
        "text.color": "white",
        "xtick.color": "white",
        "ytick.color": "white",
        "axes.edgecolor": "white",
    }
    with mpl.rc_context(style):
        assert png(of_tiles, dpi=50) == usual


def test_threads_draw_the_same_picture(of_tiles, of_table):
    expected = {0: png(of_tiles, dpi=50), 1: png(of_table, dpi=50)}
    wrong = []

    def draw(k):
        if png((of_tiles, of_table)[k % 2], dpi=50) != expected[k % 2]:
            wrong.append(k)

    threads = [threading.Thread(target=draw, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_pyplot_stays_out_and_nothing_loads_matplotlib_before_render():
    code = (
        "import sys, onnxplain.engine.explanation as e\n"
        "assert not any(m.startswith('matplotlib') for m in sys.modules), 'loaded with the engine'\n"
        "import onnxplain.engine.render\n"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'\n"
        "assert isinstance(onnxplain.engine.render.figure, object)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_notebooks_and_plot_go_through_the_renderer(of_table):
    assert isinstance(of_table.plot(top=2), Figure)
    assert pixels(of_table._repr_png_()).format == "PNG"
