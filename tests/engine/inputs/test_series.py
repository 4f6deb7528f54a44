"""Series from CSV, WAV and array files: channels, rates, lengths, and what is refused."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.io import wavfile

from onnxplain import Explanation
from onnxplain.engine.errors import InputError, SettingError
from onnxplain.engine.inputs.array import split_rows
from onnxplain.engine.inputs.load import expand_sources, load_samples
from onnxplain.engine.render.signals import series_of
from onnxplain.engine.spec import InputSpec, ModelSpec, Scaling
from onnxplain.engine.specs.inference import complete_spec
from onnxplain.engine.specs.reading import read_spec
from onnxplain.engine.specs.scaling import scaling_of
from onnxplain.engine.specs.toml import write_spec

FLOAT, INT = np.dtype(np.float32), np.dtype(np.int64)


class Info(NamedTuple):
    name: str
    shape: tuple
    dtype: np.dtype = FLOAT
    batch_axis: int | None = 0
    axes: str = ""
    is_state: bool = False


TWO = [Info("x", ("N", 2, 6))]
MONO = [Info("x", ("N", 1, "T"))]
FREE = [Info("x", ("N", "T", 2))]


def spec(layout="NCT", **fields):
    return ModelSpec(inputs={"x": InputSpec("x", "series", layout, **fields)})


@pytest.fixture
def csv(tmp_path):
    def write(text, name="series.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def wav(tmp_path):
    def write(samples, rate=8000, name="sound.wav"):
        path = tmp_path / name
        wavfile.write(path, rate, np.asarray(samples))
        return str(path)

    return write


def loaded(source, inputs, described):
    (sample,) = load_samples(source, inputs, described)
    return sample


def refusal(source, inputs, described, error=InputError):
    with pytest.raises(error) as caught:
        list(load_samples(source, inputs, described))
    assert str(caught.value).count("\n") < 6
    return str(caught.value)


STEPS = "a,b\n" + "".join(f"{k},{-k}\n" for k in range(6))


def test_columns_of_a_csv_file_are_channels_and_rows_are_steps(csv):
    path = csv(STEPS)
    sample = loaded(path, TWO, spec())
    np.testing.assert_array_equal(sample.feeds["x"], [[range(6), [-k for k in range(6)]]])
    assert sample.feeds["x"].dtype == FLOAT
    assert (sample.modality, sample.channels, sample.rate, sample.series_input) == ("series", ("a", "b"), 0.0, "x")
    assert (sample.source, sample.preprocessing) == (path, {"layout": "NCT"})


def test_axes_go_where_the_layout_says(csv):
    sample = loaded(csv(STEPS), FREE, spec("NTC"))
    np.testing.assert_array_equal(sample.feeds["x"][0, :, 1], [-k for k in range(6)])
    single = [Info("x", ("N", 6))]
    sample = loaded(csv("a\n" + "\n".join(map(str, range(6)))), single, spec("NT"))
    assert sample.feeds["x"].tolist() == [[0, 1, 2, 3, 4, 5]]
    recurrent = [Info("x", (6, 1, 2), batch_axis=1, axes="TNC")]
    sample = loaded(csv(STEPS), recurrent, complete_spec(None, recurrent))
    assert sample.feeds["x"][:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_channels_of_the_spec_are_found_by_name_in_any_order(csv):
    sample = loaded(csv(STEPS), TWO, spec(channels=("b", "a")))
    assert sample.feeds["x"][0, 1].tolist() == [0, 1, 2, 3, 4, 5]
    assert sample.channels == ("b", "a")
    assert "lacks the column 'c'" in refusal(csv(STEPS), TWO, spec(channels=("c", "a")))


def test_time_column_gives_the_rate_and_is_no_channel(csv):
    text = "seconds,a\n" + "".join(f"{k / 25},{k}\n" for k in range(6))
    sample = loaded(csv(text), MONO, spec(time="seconds"))
    assert (sample.rate, sample.channels) == (25.0, ("a",))
    assert sample.feeds["x"].tolist() == [[[0, 1, 2, 3, 4, 5]]]
    assert 'time = "seconds"' in refusal(csv(text), MONO, spec())
    uneven = "seconds,a\n0,1\n1,1\n2,1\n2.5,1\n3.5,1\n"
    assert "not evenly spaced: 1 follows 0" in refusal(csv(uneven), MONO, spec(time="seconds"))
    assert "row 1" in refusal(csv("seconds,a\n0,1\n0,1\n"), MONO, spec(time="seconds"))


def test_series_of_another_rate_is_resampled_to_the_spec(csv, wav):
    text = "seconds,a\n" + "".join(f"{k / 50},{np.sin(k / 20)}\n" for k in range(200))
    sample = loaded(csv(text), MONO, spec(time="seconds", rate=25.0))
    found = sample.feeds["x"][0, 0]
    assert (found.size, sample.rate) == (100, 25.0)
    np.testing.assert_allclose(found[5:-5], np.sin(np.arange(100) / 10)[5:-5], atol=2e-3)
    tone = np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100).astype(np.float32)
    sample = loaded(wav(tone, 44_100), MONO, spec(rate=16_000.0))
    found = sample.feeds["x"][0, 0]
    assert found.size == 16_000
    np.testing.assert_allclose(
        found[500:-500], np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)[500:-500], atol=5e-3
    )
    assert sample.preprocessing == {
        "layout": "NCT",
        "file_rate": 44_100,
        "file_channels": 1,
        "resampled": "160/441",
    }


def test_sound_of_the_spec_s_rate_is_kept_to_the_bit(wav):
    samples = np.random.default_rng(0).integers(-30_000, 30_000, 500).astype(np.int16)
    sample = loaded(wav(samples), MONO, spec(rate=8000.0))
    np.testing.assert_array_equal(sample.feeds["x"][0, 0] * 32768, samples)
    assert loaded(wav(samples, 11_025), MONO, spec()).rate == 11_025.0
    whole = [Info("x", ("N", 1, "T"), np.dtype(np.int16))]
    np.testing.assert_array_equal(loaded(wav(samples), whole, spec()).feeds["x"][0, 0], samples)


def test_channels_of_sound_are_mixed_down_to_one_and_refused_otherwise(wav):
    left, right = np.array([0.5, 0.25], np.float32), np.array([-0.5, 0.75], np.float32)
    path = wav(np.stack([left, right], axis=1))
    assert loaded(path, MONO, spec()).feeds["x"].tolist() == [[[0, 0.5]]]
    both = [Info("x", ("N", 2, "T"))]
    sample = loaded(path, both, spec())
    assert (sample.feeds["x"].tolist(), sample.channels) == ([[[0.5, 0.25], [-0.5, 0.75]]], ("left", "right"))
    assert "has 1 channel, the model takes 2" in refusal(wav(left), both, spec())
    three = wav(np.zeros((4, 3), np.float32))
    assert "has 3 channels, the model takes 2" in refusal(three, both, spec())


def test_wrong_lengths_are_refused_with_both(csv, wav):
    assert "has 3 steps, the model takes 6" in refusal(csv("a,b\n1,2\n1,2\n1,2\n"), TWO, spec())
    fixed = [Info("x", ("N", 1, 400))]
    assert "has 1,000 steps at 8000 a second, the model takes 400" in refusal(
        wav(np.zeros(1000, np.int16)), fixed, spec()
    )


def test_seconds_of_sound_are_cut_out(wav):
    samples = np.arange(8000).astype(np.int16)
    path = wav(samples)
    sample = loaded(f"{path}:0.25-0.5", MONO, spec())
    np.testing.assert_array_equal(sample.feeds["x"][0, 0] * 32768, samples[2000:4000])
    assert (sample.source, sample.preprocessing["seconds"]) == (f"{path}:0.25-0.5", [0.25, 0.5])
    assert loaded(f"{path}:0-1", MONO, spec(rate=16_000.0)).feeds["x"].shape == (1, 1, 16_000)
    assert "has no seconds 0.5-1.5: it is 1 s long" in refusal(f"{path}:0.5-1.5", MONO, spec())
    assert "has no seconds 0.5-0.50001" in refusal(f"{path}:0.5-0.50001", MONO, spec())
    assert "run backwards" in refusal(f"{path}:0.5-0.25", MONO, spec())
    assert expand_sources([f"{path}:0.25-0.5"]) == [f"{path}:0.25-0.5"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n", "there is only a header"),
        ("", "this file is empty"),
        ("a,b\n1,2\n1,hello\n", "'hello' is not a finite number"),
        ("a,b\n1,2\n1,nan\n", "'nan' is not a finite number"),
        ("a,b\n1,2\n1,1_0\n", "'1_0' is not a finite number"),
        ("a,b\n1,2\n,3\n", "missing value"),
        ("a,b\n1,2\n1\n", "row 1 has 1 cells, the header has 2"),
        ("a\n1\n", "has 1 channel (a), the model takes 2"),
        ("a,b,c\n1,2,3\n", "has 3 channels (a, b, c), the model takes 2"),
        ("1,2\n3,4\n", "must hold the names of the columns"),
        ("a|b\n1|2\n", "separated by '|'"),
    ],
)
def test_csv_file_that_is_no_series_is_refused_in_words(csv, text, words):
    assert words in refusal(csv(text), TWO, spec(channels=("a", "b")) if "|" in text else spec())


def test_rows_cannot_be_chosen_from_a_series(csv):
    assert "holds one sample, not rows" in refusal(csv(STEPS) + ":2", TWO, spec())


def test_sound_for_a_model_of_tables_is_refused(wav):
    table = [Info("x", ("N", 4))]
    assert "no input of the model is known to take one" in refusal(wav(np.zeros(4, np.int16)), table, None)


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        (("N", 1, 6), (6,)),
        (("N", 2, 6), (6, 2)),
        (("N", 2, 6), (2, 6)),
        (("N", 2, 6), (3, 6, 2)),
        (("N", "C", "T"), (2, 6)),
        (("N", 1, 6), (4, 6)),
    ],
)
def test_arrays_are_put_in_the_model_s_order_where_they_fit_in_one_only(shape, given):
    array = np.arange(np.prod(given), dtype=np.float32).reshape(given)
    samples = split_rows(array, [Info("x", shape)], spec=spec())
    expected = array if given[-1] == 6 else np.swapaxes(array, -1, -2)
    expected = expected.reshape(-1, 1 if shape[1] == 1 else 2, 6)
    np.testing.assert_array_equal([s.feeds["x"][0] for s in samples], expected)
    assert samples[0].preprocessing == {"layout": "NCT"}


def test_array_that_fits_as_it_is_stays_so():
    array = np.arange(4.0).reshape(2, 2)
    (sample,) = split_rows(array, [Info("x", ("N", 2, 2))], spec=spec())
    np.testing.assert_array_equal(sample.feeds["x"][0], array)
    with pytest.raises(InputError, match="takes the shape"):
        split_rows(np.zeros((5, 7)), [Info("x", ("N", 2, 6))], spec=spec())


def test_states_and_constants_are_filled_in(tmp_path, wav):
    inputs = [
        Info("x", ("N", "T")),
        Info("state", (2, "N", 3), batch_axis=1, is_state=True),
        Info("sr", (), INT, None),
        Info("gain", (), FLOAT, None),
    ]
    entries = {"x": InputSpec("x", "series", "NT", rate=8000.0), "gain": InputSpec("gain", fill=0.5)}
    described = complete_spec(ModelSpec(inputs=entries), inputs)
    sample = loaded(wav(np.zeros(9, np.int16)), inputs, described)
    assert sample.feeds["state"].shape == (2, 1, 3)
    assert (int(sample.feeds["sr"]), float(sample.feeds["gain"])) == (8000, 0.5)
    np.save(tmp_path / "x.npy", np.zeros((4, 9), np.float32))
    only = inputs[:2]
    known = complete_spec(ModelSpec(inputs={"x": entries["x"]}), only)
    samples = list(load_samples(str(tmp_path / "x.npy"), only, known))
    assert [s.feeds["state"].shape for s in samples] == [(2, 1, 3)] * 4
    assert not samples[0].feeds["state"].any()


def test_input_that_nothing_is_known_of_is_asked_for(wav):
    inputs = [Info("x", ("N", "T")), Info("speaker", ("N", 5))]
    described = ModelSpec(inputs={"x": InputSpec("x", "series", "NT"), "speaker": InputSpec("speaker", "array")})
    assert "no array was given for 'speaker'" in refusal(wav(np.zeros(9, np.int16)), inputs, described)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rate": -1.0}, "rate -1 is not from 0"),
        ({"rate": 1e12}, "is not from 0"),
        ({"channels": ("a", "a")}, "channels has the same name twice"),
        ({"channels": ("a",), "time": "a"}, "is one of the channels"),
        ({"modality": "table", "rate": 5.0}, "are for a series"),
    ],
)
def test_spec_of_a_series_that_makes_no_sense_is_refused(fields, words):
    with pytest.raises(SettingError, match=words):
        InputSpec("x", **({"modality": "series"} | fields))


def test_spec_of_a_series_is_written_and_read_back(tmp_path):
    entries = {
        "x": InputSpec("x", "series", "NCT", rate=16_000.5, channels=("left", 'ri"ght'), time="t", fill=-0.25),
        "h": InputSpec("h", "state"),
        "sr": InputSpec("sr", fill=16_000.0),
        "bytes": InputSpec("bytes", "array", "NT", rate=1.0),
    }
    described = ModelSpec(inputs=entries)
    path = write_spec(described, tmp_path / "model.toml")
    assert read_spec(path) == described
    assert "samples per second" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('rate = "fast"', "rate must be a number"),
        ("rate = -3", "rate -3 is not from 0"),
        ("channels = 2", "channels must be a list of strings"),
        ("time = 0", "time must be a string"),
        ("fill = true", "fill must be a number"),
        ("rates = 3", "unknown key 'rates'"),
    ],
)
def test_spec_file_with_a_wrong_field_is_refused(tmp_path, line, words):
    path = tmp_path / "model.toml"
    path.write_text(f'[inputs.x]\nmodality = "series"\n{line}\n', encoding="utf-8")
    with pytest.raises(SettingError, match=words) as caught:
        read_spec(path)
    assert "inputs.x" in caught.value.where


SCALED = """
[inputs.x]
layout = "NCT"
channels = ["a", "b"]
[inputs.x.preprocessing]
scale = 10
mean = [1, -2]
std = [2, 4]
"""


def described(folder, text):
    (folder / "model.toml").write_text(text)
    return read_spec(folder / "model.toml")


def test_numbers_of_a_file_are_scaled_per_channel_and_drawn_as_they_were(csv, tmp_path):
    found = described(tmp_path, SCALED)
    sample = loaded(csv("b,a\n5,1\n" + "0,3\n" * 5), TWO, complete_spec(found, TWO))
    np.testing.assert_array_equal(sample.feeds["x"][0, :, :2], [[(10 - 1) / 2, (30 - 1) / 2], [(50 + 2) / 4, 2 / 4]])
    assert sample.preprocessing["scaling"] == {"scale": 10.0, "mean": (1.0, -2.0), "std": (2.0, 4.0)}
    result = Explanation({"x": np.ones((1, 2, 6))}, "occlusion", {}, "0", 1.0, sample=sample)
    np.testing.assert_allclose(series_of(result).signal[:, :2], [[1, 3], [5, 0]])
    again = Explanation.load(result.save(tmp_path / "r.npz"))
    np.testing.assert_allclose(series_of(again).signal[:, :2], [[1, 3], [5, 0]])


def test_sound_is_scaled_after_resampling(wav, tmp_path):
    text = '[inputs.x]\nlayout = "NCT"\nrate = 4000\n[inputs.x.preprocessing]\nmean = 0.25\nstd = 0.5\n'
    sample = loaded(wav(np.full(800, 0.5, np.float32)), MONO, complete_spec(described(tmp_path, text), MONO))
    assert sample.feeds["x"].shape == (1, 1, 400)
    np.testing.assert_allclose(sample.feeds["x"][0, 0, 50:-50], 0.5, atol=1e-3)


def test_arrays_are_taken_as_the_model_takes_them(tmp_path):
    found = complete_spec(described(tmp_path, SCALED), TWO)
    assert split_rows(np.ones((1, 2, 6)), TWO, spec=found)[0].feeds["x"].max() == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scale = 10", "scale = 0", "must not be 0"),
        ("std = [2, 4]", "std = [0, 4]", "must not be 0"),
        ("std = [2, 4]", "std = [2, 4, 5]", "one per channel"),
        ("mean = [1, -2]", "mean = []", "one per channel"),
        ("mean = [1, -2]", "mean = [1, nan]", "number"),
        ("mean = [1, -2]", 'mean = "imagenet"', "number"),
        ("scale = 10", "scale = [1, 2]", "a number"),
        ("scale = 10", "size = 10", "unknown key 'size'"),
        ('channels = ["a", "b"]', 'channels = ["a", "b", "c"]', "for 2 channels, and 3 have names"),
        ('layout = "NCT"', 'layout = "NCT"\nmodality = "array"', "mean has 2 values"),
    ],
)
def test_scaling_that_makes_no_sense_is_refused(tmp_path, old, new, message):
    with pytest.raises(SettingError, match=message) as told:
        described(tmp_path, SCALED.replace(old, new))
    assert "model.toml, inputs.x" in told.value.where


def test_scaling_for_other_channels_than_the_series_has_is_refused(csv, tmp_path):
    found = described(
        tmp_path, SCALED.replace('channels = ["a", "b"]\n', "").replace("[1, -2]", "[1, 2, 3]").replace("[2, 4]", "2")
    )
    assert "for 3 channels, this series has 2" in refusal(csv(STEPS), TWO, complete_spec(found, TWO), SettingError)


def test_scaling_is_written_and_read_back(tmp_path):
    found = described(tmp_path, SCALED)
    assert read_spec(write_spec(found, tmp_path / "again.toml")).inputs == found.inputs
    bare = write_spec(spec(), tmp_path / "bare.toml")
    assert '# [inputs."x".preprocessing]' in bare.read_text()
    bare.write_text(bare.read_text().replace("# [", "[").replace("# scale", "scale").replace("# mean", "mean"))
    assert read_spec(bare).inputs["x"].scaling == Scaling()


@pytest.mark.parametrize(
    "kept",
    [
        None,
        [],
        {"scale": 1},
        {"scale": "1", "mean": [0], "std": [1]},
        {"scale": 1, "mean": 0, "std": [1]},
        {"scale": 1, "mean": [0], "std": [0]},
        {"scale": 1, "mean": [True], "std": [1]},
        {"scale": 1, "mean": [], "std": [1]},
    ],
)
def test_hostile_scaling_in_a_file_is_left_out(kept):
    assert scaling_of(kept) is None
