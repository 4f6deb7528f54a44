"""``onnxplain evaluate`` with files beside the inputs: saved explanations, masks, boxes."""

import json

import numpy as np
import pytest

import onnxplain
from onnxplain.models import catalogue


@pytest.fixture
def digits():
    return [str(p) for p in catalogue.samples("digits-cnn")[:3]]


FAST = ("--metric", "deletion", "--metric", "sparseness", "--set", "deletion.steps=16")


class TestSavedExplanations:
    @pytest.fixture
    def save(self, tmp_path):
        """Explain a digit and save the explanation; return the name of the file."""
        model = onnxplain.load(catalogue.path("digits-cnn"))

        def made(name, digit, method, target="top", **settings):
            onnxplain.explain(model, digit, method, target=target, **settings).save(tmp_path / name)
            return name

        return made

    @pytest.fixture
    def saved(self, save, digits):
        return [save(f"rise-{k}.npz", digits[k], "rise", masks=300) for k in (0, 1)]

    def test_are_judged_on_their_own_inputs_beside_other_methods(self, run, digits, saved):
        given = [part for file in saved for part in ("-m", file)]
        one = run("evaluate", "digits-cnn", *given, "-m", "occlusion", *FAST, "--json")
        assert one.exit_code == 0, one.stderr
        methods = ("-m", "rise", "-m", "occlusion", "--set", "masks=300")
        other = run("evaluate", "digits-cnn", *digits[:2], *methods, *FAST, "--json")
        values = [
            {(s["metric"], s["method"]): s["samples"] for s in json.loads(r.stdout)["scores"]} for r in (one, other)
        ]
        assert values[0] == values[1]
        assert {method for _, method in values[0]} == {"rise", "occlusion", "random", "edges"}

    def test_of_one_input_by_two_methods_are_judged_on_it_once(self, run, digits, saved, save):
        file = save("occlusion.npz", digits[0], "occlusion")
        result = run("evaluate", "digits-cnn", "-m", saved[0], "-m", file, *FAST, "--json")
        scores = json.loads(result.stdout)["scores"]
        assert {s["method"] for s in scores} == {"rise", "occlusion", "random", "edges"}
        assert {len(s["samples"]) for s in scores} == {1}

    def test_decide_the_target_of_all(self, run, digits, save):
        file = save("five.npz", digits[0], "occlusion", target=5)
        metrics = ("--metric", "deletion", "--set", "deletion.of=score")
        result = run("evaluate", "digits-cnn", digits[0], "-m", file, "-m", "ablation", *metrics, "--json")
        scores = json.loads(result.stdout)["scores"]
        assert len({s["parts"]["score"] for s in scores}) == 1
        refused = run("evaluate", "digits-cnn", digits[0], "-m", file, "-t", "3", *metrics)
        assert refused.exit_code == 3
        assert "this explanation is of target '5', not of '3'" in refused.stderr
        assert refused.stdout == ""

    @pytest.mark.usefixtures("linear")
    def test_of_another_model_or_input_or_twice_are_refused(self, run, digits, saved):
        other = run("evaluate", "linear.onnx", "rows.csv", "-m", saved[0], *FAST)
        assert other.exit_code == 3
        assert "this explanation is of another model: its digest differs" in other.stderr
        assert saved[0] in other.stderr
        moved = run("evaluate", "digits-cnn", digits[2], "-m", saved[0], *FAST)
        assert moved.exit_code == 3
        assert "this explanation is of another input" in moved.stderr
        assert "input 'image' differs" in moved.stderr
        several = run("evaluate", "digits-cnn", digits[2], "-m", saved[0], "-m", saved[1], *FAST)
        assert "none of the 2 explanations by rise is of this input" in several.stderr
        both = run("evaluate", "digits-cnn", digits[0], "-m", saved[0], "-m", "rise", *FAST)
        assert "rise is given both by its name and as a file" in both.stderr

    def test_made_with_other_settings_are_not_one_method(self, run, digits, saved, save):
        file = save("more.npz", digits[1], "rise", masks=400)
        result = run("evaluate", "digits-cnn", "-m", saved[0], "-m", file, *FAST)
        assert result.exit_code == 3
        assert "the explanations by rise were made with other settings each" in result.stderr

    def test_are_found_again_by_what_they_hold(self, run, digits, saved, save):
        command = ("evaluate", "digits-cnn", digits[0], "-m", saved[0], "--metric", "sparseness", "-o", "out")
        run(*command)
        assert "going on: 3 results are there" in run(*command).stderr
        save(saved[0], digits[0], "rise", masks=400)
        assert "1 result there has other settings of rise: computed anew" in run(*command).stderr


class TestEvidence:
    METRICS = ("-m", "occlusion", "--metric", "relevance-mass", "--metric", "box-error")

    def masses(self, result):
        assert result.exit_code == 0, result.stderr
        return {(s["metric"], s["method"]): s["samples"] for s in json.loads(result.stdout)["scores"]}

    def test_a_mask_for_each_input_lies_in_a_folder_or_is_a_row_of_a_table(self, run, digits, tmp_path):
        from PIL import Image

        boxes = {"digits-0": (1, 2, 5, 6), "digits-2": (0, 0, 3, 8)}
        (tmp_path / "masks").mkdir()
        masks = {name: np.zeros((8, 8), np.uint8) for name in boxes}
        for name, (x0, y0, x1, y1) in boxes.items():
            masks[name][y0:y1, x0:x1] = 255
        np.save(tmp_path / "masks" / "digits-0.npy", masks["digits-0"])
        Image.fromarray(masks["digits-2"]).save(tmp_path / "masks" / "digits-2.png")
        rows = [
            ("file", "x0", "y0", "x1", "y1"),
            ("digits-0.png", *boxes["digits-0"]),
            ("digits-2", *boxes["digits-2"]),
        ]
        (tmp_path / "boxes.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))

        def found(*options):
            return self.masses(run("evaluate", "digits-cnn", *options, *self.METRICS, "--json"))

        first, second = (
            found(file, "--box", ",".join(map(str, box))) for file, box in zip(digits, boxes.values(), strict=False)
        )
        together = {name: samples + second[name] for name, samples in first.items()}
        assert found(*digits[:2], "--mask", "masks") == together
        assert found(*digits[:2], "--box", "boxes.csv") == together

    def test_an_input_may_have_several_boxes(self, run, digits, tmp_path):
        rows = ["file,x0,y0,x1,y1", "digits-0.png,0,0,4,8", "digits-2,0,0,8,3", "digits-0,4,2,8,6"]
        (tmp_path / "boxes.csv").write_text("\n".join(rows))
        (tmp_path / "masks").mkdir()
        masks = {name: np.zeros((8, 8)) for name in ("digits-0", "digits-2")}
        masks["digits-0"][:, :4] = masks["digits-0"][2:6, 4:] = masks["digits-2"][:3] = 1
        for name, mask in masks.items():
            np.save(tmp_path / "masks" / name, mask)
        metrics = ("-m", "occlusion", "--metric", "relevance-mass", "--metric", "iou", "--json")
        one, other = (
            self.masses(run("evaluate", "digits-cnn", *digits[:2], *metrics, *where))
            for where in (("--mask", "boxes.csv"), ("--mask", "masks"))
        )
        assert one == other

    def test_without_any_nothing_is_begun(self, run, digits):
        result = run("evaluate", "digits-cnn", digits[0], *self.METRICS, "--metric", "deletion")
        assert result.exit_code == 3
        assert "relevance-mass needs to know where the evidence is" in result.stderr
        assert result.stdout == ""

    def test_an_input_without_a_mask_is_told_and_the_others_are_judged(self, run, digits, tmp_path):
        (tmp_path / "boxes.csv").write_text("digits-0.png,1,2,5,6\n")
        result = run("evaluate", "digits-cnn", *digits[:2], *self.METRICS, "--box", "boxes.csv")
        assert result.exit_code == 4
        assert "there is no box for 'digits-2.png'" in result.stderr
        assert result.stderr.count("error:") == 1
        assert "relevance-mass" in result.stdout

    @pytest.mark.parametrize(
        ("where", "said"),
        [
            (("--mask", "none.png"), "there is no file 'none.png'"),
            (("--mask", "empty"), "there is no mask for 'digits-0.png' in 'empty'"),
            (("--box", "bad.csv"), "a box is x0,y0,x1,y1, not '1,2,x,4'\n  at: bad.csv, line 3"),
            (("--box", "semicolons.csv"), "there is no box for 'digits-0.png'"),
            (("--box", "5,5,2,9"), "is not within the image of 8 x 8 pixels"),
            (("--mask", "all.npy"), "the mask covers everything"),
        ],
    )
    def test_what_is_wrong_with_a_mask_is_told_once(self, run, digits, tmp_path, where, said):
        (tmp_path / "empty").mkdir()
        (tmp_path / "bad.csv").write_text("file,x0,y0,x1,y1\ndigits-0,1,2,5,6\ndigits-0,1,2,x,4\n")
        (tmp_path / "semicolons.csv").write_text("digits-0;1;2;5;6\n")
        np.save(tmp_path / "all.npy", np.ones((8, 8)))
        result = run("evaluate", "digits-cnn", digits[0], *self.METRICS, *where)
        assert result.exit_code == 3
        assert said in result.stderr
        assert result.stderr.count("error:") == 1
