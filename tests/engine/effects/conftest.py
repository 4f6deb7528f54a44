"""Models that the tests of effects share."""

import pytest

import effect_models


@pytest.fixture
def row_222():
    """f(x) = 2 x1 + x2 x3."""
    return effect_models.row_222()


@pytest.fixture
def classifier():
    """A linear model of three columns and three classes with a Softmax."""
    return effect_models.classifier()
