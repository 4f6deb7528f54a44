"""The memory of coalitions against a plain dict, and what it keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.engine.memory import Memory


@given(
    st.sampled_from([1, 7, 8, 63, 64, 65, 200]),
    st.lists(st.integers(0, 40), min_size=1, max_size=12),
    st.integers(0, 99),
)
def test_places_and_scores_are_those_of_a_dict(size, lengths, seed):
    rng = np.random.default_rng(seed)
    pool = rng.random((30, size)) < 0.5
    memory, plain = Memory(), {}
    for length in lengths:
        chunk = pool[rng.integers(0, len(pool), length)]
        places, fresh = memory.find(chunk)
        news = []
        for row, coalition in enumerate(chunk):
            if coalition.tobytes() not in plain:
                plain[coalition.tobytes()] = len(plain) + 0.5
                news.append(row)
        assert fresh.tolist() == news
        memory.put(places[fresh], np.array([plain[chunk[row].tobytes()] for row in fresh]))
        assert memory.scores(places).tolist() == [plain[c.tobytes()] for c in chunk]
    assert len(memory) == len(plain)


def test_what_never_got_a_score_is_forgotten():
    memory = Memory()
    both, _ = memory.find(np.eye(2, dtype=bool))
    memory.put(both[:1], np.array([3.0]))
    kept = memory.settled(10)
    places, fresh = kept.find(np.eye(2, dtype=bool))
    assert fresh.tolist() == [1]
    assert kept.scores(places)[0] == 3.0
    assert len(memory.settled(0)) == 0


def test_one_coalition_can_be_kept_and_asked_for_without_taking_a_place():
    memory, one, other = Memory(), np.array([True, False]), np.array([True, True])
    assert memory.score(one) is None
    assert len(memory) == 0
    memory.keep(one, 2.5)
    memory.find(other[None])  # without a score yet
    assert (memory.score(one), memory.score(other)) == (2.5, None)


@pytest.mark.parametrize("size", [65, 128, 4096])
def test_large_coalitions_that_differ_in_one_feature_are_told_apart(size):
    one = np.eye(size, dtype=bool)
    chunk = np.concatenate([~one, one, np.ones((1, size), bool)])
    assert len(Memory().find(chunk)[1]) == 2 * size + 1
