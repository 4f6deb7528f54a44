"""What gradient and CAM methods say of tensors and settings that they cannot work with: short, and with what to do."""

import pytest

pytest.importorskip("torch")

CASES = {
    "an unknown tensor": (
        ("-m", "saliency", "--wrt", "relu9"),
        "there is no tensor 'relu9' in this model",
        "did you mean 'relu3' or 'relu2' or 'relu1'?",
    ),
    "an unknown layer": (
        ("-m", "grad-cam", "--wrt", "relu9"),
        "there is no tensor 'relu9' in this model",
        "did you mean 'relu3' or 'relu2' or 'relu1'?",
    ),
    "a tensor behind the target": (
        ("-m", "conductance", "--wrt", "relu2", "-t", "conv1[0,0,0]"),
        "the target 'conv1' does not depend on tensor 'relu2'",
        "name a tensor that comes before the target",
    ),
    "a layer behind the target": (
        ("-m", "layer-cam", "--wrt", "relu2", "-t", "conv1[0,0,0]"),
        "the target 'conv1' does not depend on tensor 'relu2'",
        "name a tensor that comes before the target",
    ),
    "too many points": (
        ("-m", "integrated-gradients", "--set", "points=100000000"),
        "integrated-gradients.points must be 1 to 1e+06, not 100000000",
        "",
    ),
    "too many samples": (
        ("-m", "gradient-shap", "--set", "samples=100000000"),
        "gradient-shap.samples must be 2 to 1e+06, not 100000000",
        "",
    ),
    "too many noisy copies": (
        ("-m", "saliency", "--smooth", "smoothgrad", "--set", "smoothgrad.samples=100000000"),
        "smoothgrad.samples must be 2 to 1e+06, not 100000000",
        "",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_told_in_a_few_lines(run, digit, case):
    arguments, message, tip = CASES[case]
    result = run("explain", "digits-cnn", digit, *arguments)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert tip in result.stderr
    assert len(result.stderr.splitlines()) <= 6


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "guided-grad-cam", "eigen-cam"])
def test_a_model_of_a_table_has_no_map(run, linear, method):
    result = run("explain", linear, "rows.csv:0", "-m", method)
    assert result.exit_code == 3
    assert "has positions: there is no map to make" in result.stderr
    assert "use a method that explains inputs" in result.stderr
