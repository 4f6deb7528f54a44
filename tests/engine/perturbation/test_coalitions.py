import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.engine.perturbation import coalitions
from onnxplain.engine.perturbation.coalitions import design, pairs_of, stratum_mass

seeds = st.integers(0, 2**32 - 1)


def every_pair(size):
    return {
        frozenset((frozenset(part), frozenset(range(size)) - frozenset(part)))
        for s in range(1, size)
        for part in itertools.combinations(range(size), s)
    }


def as_pair(z):
    return frozenset((frozenset(np.flatnonzero(z).tolist()), frozenset(np.flatnonzero(~z).tolist())))


def chosen_pairs(plan, length=5):
    found = []
    for block, masses in plan.blocks(length):
        assert len(block) <= length
        found += zip(map(as_pair, block), [None] * len(block) if masses is None else masses, strict=True)
    return found


@given(st.integers(1, 8), seeds)
def test_with_enough_pairs_every_pair_comes_once_with_its_kernel_weight(size, seed):
    plan = design(size, 2 ** (size - 1) - 1, np.random.default_rng(seed))
    pairs = chosen_pairs(plan)
    assert len(pairs) == plan.count == 2 ** (size - 1) - 1
    assert {pair for pair, _ in pairs} == (every_pair(size) if size > 1 else set())
    for pair, mass in pairs:
        s = min(map(len, pair))
        assert mass == pytest.approx(2 / (s * (size - s) * math.comb(size, s)))


@given(st.integers(5, 9), st.floats(0, 1), seeds)
def test_no_pair_is_chosen_twice_and_the_number_is_kept(size, share, seed):
    least, most = size + 2, 2 ** (size - 1) - 1
    wanted = int(least + share * (most - least))
    plan = design(size, wanted, np.random.default_rng(seed))
    pairs = [pair for pair, _ in chosen_pairs(plan)]
    assert len(pairs) == len(set(pairs)) == plan.count == wanted
    assert set(pairs) <= every_pair(size)
    mass = sum(stratum_mass(size, s) for s in plan.enumerated) + plan.rest
    assert mass == pytest.approx(sum(1 / (s * (size - s)) for s in range(1, size)))


def test_sampled_pairs_are_drawn_in_proportion_to_the_kernel():
    size, wanted, repeats = 7, 20, 3000
    counts = dict.fromkeys(every_pair(size), 0)
    for seed in range(repeats):
        plan = design(size, wanted, np.random.default_rng(seed))
        assert plan.enumerated == (1,)
        for pair, _ in chosen_pairs(plan):
            counts[pair] += 1
    rest = sum(stratum_mass(size, s) for s in (2, 3))
    for pair, count in counts.items():
        s = min(map(len, pair))
        chance = 1 if s == 1 else (wanted - 7) * stratum_mass(size, s) / pairs_of(size, s) / rest
        assert count / repeats == pytest.approx(chance, abs=5 * np.sqrt(chance / repeats))


def test_sizes_are_enumerated_from_the_outside_in_as_far_as_their_share_reaches():
    rng = np.random.default_rng(0)
    enumerated = [design(12, pairs, rng).enumerated for pairs in (24, 200, 600, 1500, 2047)]
    assert enumerated == [(1,), (1,), (1, 2), (1, 2, 3, 4), (1, 2, 3, 4, 5, 6)]


def test_sampled_sizes_follow_the_mass_to_within_one():
    size, wanted = 40, 500
    plan = design(size, wanted, np.random.default_rng(1))
    sizes = plan.sampled(0, len(plan.packed)).sum(axis=1)
    left = wanted - sum(pairs_of(size, s) for s in plan.enumerated)
    for s in range(len(plan.enumerated) + 1, size // 2 + 1):
        assert abs((sizes == s).sum() - left * stratum_mass(size, s) / plan.rest) < 1


def test_hundreds_of_features_are_no_trouble():
    plan = design(700, 1000, np.random.default_rng(2))
    assert plan.enumerated == (1,)
    z = plan.sampled(0, 300)
    assert z.shape == (300, 700)
    assert len(np.unique(z, axis=0)) == 300


@pytest.mark.parametrize(("size", "pairs"), [(6, 31), (12, 200)])
@pytest.mark.parametrize(("length", "batch"), [(1, 7), (16, 16), (1000, 64)])
@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_rounds_fill_batches_with_each_pair_and_tell_of_its_block_no_later(
    size, pairs, length, batch, kept, monkeypatch
):
    monkeypatch.setattr(coalitions, "KEPT_NUMBERS", kept)
    plan = design(size, pairs, np.random.default_rng(4))
    for _ in range(2):  # the second time, of what may have been kept
        rounds = list(plan.rounds(length, batch))
        assert all(len(rows) % batch == 0 for rows, _ in rounds[:-1])
        rows = np.concatenate([rows for rows, _ in rounds])
        blocks = [block for _, some in rounds for block in some]
        assert np.array_equal(rows[::2], np.concatenate([z for z, _ in blocks]))
        assert np.array_equal(rows[1::2], ~rows[::2])
        for (z, mass), (known, masses) in zip(blocks, plan.blocks(length), strict=True):
            assert np.array_equal(z, known)
            assert mass is masses is None or np.array_equal(mass, masses)
        told = np.cumsum([sum(2 * len(z) for z, _ in some) for _, some in rounds])
        assert (told >= np.cumsum([len(rows) for rows, _ in rounds])).all()


@pytest.mark.parametrize("size", [1, 2, 5, 8, 13])
@pytest.mark.parametrize("length", [1, 3, 1000])
def test_few_features_are_listed_as_many_are_in_the_order_of_their_members(size, length, monkeypatch):
    strata = range(1, size // 2 + 1)
    quick = [[block.tolist() for block in coalitions._listed(size, s, length)] for s in strata]
    monkeypatch.setattr(coalitions, "FEW", 0)
    assert quick == [[block.tolist() for block in coalitions._listed(size, s, length)] for s in strata]
    members = [[row.nonzero()[0].tolist() for row in np.array([r for b in blocks for r in b])] for blocks in quick]
    assert members == [sorted(one) for one in members]
    assert [len(one) for one in members] == [coalitions.pairs_of(size, s) for s in strata]
