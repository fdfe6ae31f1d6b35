"""Logs with the reward of every action, and what is learned from them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pliant
import pytest
from conftest import module_at
from pliant import bandit


def learners() -> ModuleType:
    """The example."""
    return module_at("python/examples/learners.py")


def test_every_plan_has_its_reward(own: pliant.Experiment) -> None:
    log = bandit.export(own, behaviour="uniform", seed=3)
    assert (log["n_rounds"], log["n_actions"]) == (4, 2)
    # Item 2 in time under both: 0.25 and 1. The next two allow level 50 % alone: 1 and 0.
    rewards = log["expected_reward"]
    np.testing.assert_allclose(rewards[:3], [[0.25, 1.0], [1.0, 0.0], [0.0, 0.0]])
    # The last, item 2 again, is right under the whole model if that is in memory.
    resident = log["context"][3, 6]
    np.testing.assert_allclose(rewards[3], [0.25, 1.0 if resident == 1 else 0.0])
    rounds = np.arange(4)
    np.testing.assert_array_equal(log["reward"], rewards[rounds, log["action"]])
    np.testing.assert_array_equal(log["pscore"], [0.5] * 4)
    np.testing.assert_array_equal(log["pi_b"], np.full((4, 2, 1), 0.5))
    np.testing.assert_array_equal(log["action_context"], [[0.5, 1.0], [1.0, 1.0]])
    assert log["item"].tolist() == ["2", "faq-6", "4", "2"]
    assert log["position"] is None
    feasible = bandit.export(own)
    assert feasible["action"][1:3].tolist() == [0, 0]
    np.testing.assert_array_equal(feasible["pscore"], 1 / feasible["action_mask"].sum(axis=1))
    with pytest.raises(pliant.PliantError, match="is no behaviour"):
        bandit.export(own, behaviour="bold")


def test_an_estimate_from_the_log_is_near_the_truth(choosers: pliant.Experiment) -> None:
    options: dict[str, Any] = {"alphas": [0.0], "seeds": 4, "requests": 200}
    log = bandit.export(choosers, like="elastilm", **options)
    target = log["expected_reward"].argmax(axis=1)
    rounds = np.arange(log["n_rounds"])
    truth = log["expected_reward"][rounds, target].mean()
    weights = (log["action"] == target) / log["pscore"]
    estimate = (weights * log["reward"]).mean()
    error = (weights * log["reward"]).std() / np.sqrt(log["n_rounds"])
    assert abs(estimate - truth) < 4 * error


def test_learners_are_judged_on_items_they_did_not_see(
    choosers: pliant.Experiment, tmp_path: Path
) -> None:
    said: list[str] = []
    example = learners()
    learned, shown = example.main(choosers, seeds=2, requests=150, folder=tmp_path, say=said.append)
    assert list(shown) == [
        "linucb",
        "neural",
        "reinforce",
        "elastilm",
        "elastic-profile+lora",
        "random-feasible",
        "oracle",
    ]
    table = shown["elastic-profile+lora"]
    assert table[1:] == (0, 0, 0)
    for share, lead, low, high in shown.values():
        assert 0 <= share <= shown["oracle"][0]
        assert low <= lead <= high
    assert len(said) == 11
    assert all(len(learning.curve) for learning in learned.values())
    # What was planned is a method of kind `recorded`, which comes to the same outcomes.
    again = pliant.load(tmp_path / "learned.toml")
    assert again.methods == list(shown)
    assert example.compare(again.run(), list(shown), said.append) == shown
    # What was learned is read again, and plans the same.
    read = example.Learned.load(tmp_path / "neural.npz")
    known = np.random.default_rng(0).normal(size=(5, example.FEATURES))
    np.testing.assert_array_equal(read.score(known), learned["neural"].score(known))


def test_gradients_are_those_of_the_loss() -> None:
    example, draws = learners(), np.random.default_rng(0)
    hidden, out = draws.normal(size=(example.FEATURES, 3)), draws.normal(size=3)
    known, rewards = draws.normal(size=(7, example.FEATURES)), draws.random(7)

    def loss(hidden: Any, out: Any) -> float:
        chance = 1 / (1 + np.exp(-example.Network(hidden, out)(known)))
        entropy = rewards * np.log(chance) + (1 - rewards) * np.log(1 - chance)
        return float(-entropy.mean())

    of_hidden, of_out = example.Network(hidden, out).gradients(known, rewards)
    step = 1e-6
    for place in ((0, 0), (5, 2)):
        moved = hidden.copy()
        moved[place] += step
        assert (loss(moved, out) - loss(hidden, out)) / step == pytest.approx(
            of_hidden[place], abs=1e-5
        )
    moved = out.copy()
    moved[1] += step
    assert (loss(hidden, moved) - loss(hidden, out)) / step == pytest.approx(of_out[1], abs=1e-5)
