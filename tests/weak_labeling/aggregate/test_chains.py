"""Sums over all paths of a chain, against the paths written out one by one."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np

from weak_labeling.aggregate.chains import packing, posterior


def test_sums_are_those_of_all_paths_written_out() -> None:
    draw = np.random.default_rng(0)
    starts, tags = np.array([0, 3, 3, 4, 8]), 3
    scores, first, moves = draw.normal(size=(8, tags)), np.array([0, 0.2, -np.inf]), draw.normal(size=(tags, tags))
    moves[0, 2] = -np.inf
    log_z, marginals, pairs = 0.0, np.zeros((8, tags)), np.zeros((tags, tags))
    for start, stop in pairwise(starts.tolist()):
        if start == stop:
            continue
        paths = {
            path: first[path[0]] + scores[range(start, stop), path].sum() + sum(moves[pair] for pair in pairwise(path))
            for path in product(range(tags), repeat=stop - start)
        }
        total = np.log(sum(map(np.exp, paths.values())))
        log_z += total
        for path, score in paths.items():
            share = np.exp(score - total)
            marginals[range(start, stop), path] += share
            for pair in pairwise(path):
                pairs[pair] += share
    found = posterior(scores, first, moves, packing(starts))
    np.testing.assert_allclose(found.log_z, log_z)
    np.testing.assert_allclose(found.marginals, marginals)
    np.testing.assert_allclose(found.pairs, pairs)
