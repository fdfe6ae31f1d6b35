"""Environments: Gymnasium's own checks, and the outcomes of a run."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pliant
import pytest
from pliant import Menu, Request, Service

pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from pliant.gym import ElasticServiceEnv, ElasticServiceVectorEnv

SMALL: dict[str, Any] = {
    "methods": ["elastilm"],
    "alphas": [0.0],
    "seeds": 3,
    "requests": 40,
}


def test_gymnasium_finds_nothing_wrong(choosers: pliant.Experiment) -> None:
    env = ElasticServiceEnv(choosers, **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)


def test_a_step_is_what_is_worked_out_by_hand(own: pliant.Experiment) -> None:
    # docs/own-measurements.md: at 50 % of the level TTFT is 105 ms, at 100 % 205; bounds 205, 123.
    env = ElasticServiceEnv(own)
    observation, info = env.reset(seed=0)
    names = [name for name, _ in env.parts()]
    assert names[:8] == [
        "prompt_tokens",
        "output_tokens",
        "ttft_objective",
        "tpot_objective",
        "waited_ms",
        "queued",
        "resident",
        "speed",
    ]
    assert names[8:] == [
        "app",
        "dataset",
        "load 50/100",
        "load 100/100",
        "expected_accuracy 50/100",
        "expected_accuracy 100/100",
    ]
    expected = [100, 11, 1, 1, 0, 0, 0, 1, 0, 0, 105 / 205, 1, 0.55, 0.95]
    np.testing.assert_allclose(observation, expected, rtol=1e-6)
    assert info["action_mask"].tolist() == [1, 1]
    observation, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated) == (0.25, False, False)
    expected = [100, 11, 0.6, 0.6, 0, 0, 0.5, 1, 0, 0, 105 / 123, 207 / 123, 0.55, 0.95]
    np.testing.assert_allclose(observation, expected, rtol=1e-6)
    assert info["action_mask"].tolist() == [1, 0]
    assert env.action_masks().tolist() == [True, False]
    # The whole model is late; the next request's objective is as tight.
    assert env.step(1)[1] == 0.0
    assert env.step(np.int64(0))[1] == 0.0
    # Item 2 again: the whole model would be right, and 2 ms late for the switch to it.
    observation, reward, terminated, _, _ = env.step(0)
    assert (reward, terminated) == (0.25, True)
    assert not observation.any()
    with pytest.raises(pliant.PliantError, match="the episode is over"):
        env.step(0)


def test_the_reward_may_be_what_was_to_be_expected(own: pliant.Experiment) -> None:
    env = ElasticServiceEnv(own, reward="expected")
    env.reset(seed=0)
    rewards = [env.step(action)[1] for action in (0, 1, 0, 1)]
    np.testing.assert_allclose(rewards, [0.55, 0.0, 0.55, 0.0])
    with pytest.raises(pliant.PliantError, match="is no reward"):
        ElasticServiceEnv(own, reward="joy")


@pytest.mark.parametrize("action", [-1, 2])
def test_an_action_that_is_no_plan_is_named(own: pliant.Experiment, action: int) -> None:
    env = ElasticServiceEnv(own)
    with pytest.raises(pliant.PliantError, match="no episode was begun"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(pliant.PliantError, match=r"action is no plan; found -?\d; allowed: 0 to 1"):
        env.step(action)


def first_feasible(request: Request, service: Service, menu: Menu) -> int:
    return int(menu.feasible.argmax()) if menu.feasible.any() else menu.least_late()


def play(env: ElasticServiceEnv, episodes: int) -> None:
    for episode in range(episodes):
        _, info = env.reset(options={"trace": episode})
        terminated = False
        while not terminated:
            *_, terminated, _, info = env.step(int(info["action_mask"].argmax()))


def test_an_episode_comes_to_the_outcomes_of_a_run(
    choosers: pliant.Experiment, tmp_path: Path
) -> None:
    env = ElasticServiceEnv(choosers, record=True, **SMALL)
    play(env, 3)
    run = choosers.run([first_feasible], devices=choosers.devices[:1], **SMALL)
    ours, theirs = env.outcomes(), run.outcomes.where(method="first_feasible")
    assert ours.rows == 3 * 40
    for name in set(ours) - {"method"}:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    # Saved, its plans are a method that the command line runs, too.
    env.save_plans(tmp_path / "plans.csv")
    text = Path("experiments/choosers.toml").read_text()
    head, devices, *_ = text.split("[[devices]]")
    head = head.replace("seeds = 20", "seeds = 3").replace("requests = 600", "requests = 40")
    head = head.replace("[0.0, 0.25, -0.25]", "[0.0]")
    method = text.split("[[methods]]")[1].split("policy =")[0].replace('"elastilm"', '"agent"')
    plans = tmp_path / "plans.csv"
    policy = f'{{ kind = "recorded", plans = "{plans}", decisions = "width-lora-score-head" }}'
    file = tmp_path / "recorded.toml"
    file.write_text(f"{head}[[devices]]{devices}[[methods]]{method}policy = {policy}\n")
    again = pliant.load(file).run().outcomes
    for name in ours:
        np.testing.assert_array_equal(ours[name], again[name], err_msg=name)


def test_plans_are_a_file_of_numbers(own: pliant.Experiment, tmp_path: Path) -> None:
    env = ElasticServiceEnv(own)
    env.reset(seed=0)
    for action in (0, 1, 0, 1):
        env.step(action)
    env.save_plans(tmp_path / "plans.csv")
    with (tmp_path / "plans.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["level_percent"] for row in rows] == ["50", "100", "50", "100"]
    assert {row["device"] for row in rows} == {"phone"}


def test_the_same_seed_gives_the_same_episode(choosers: pliant.Experiment) -> None:
    env = ElasticServiceEnv(choosers, **SMALL)
    first, _ = env.reset(seed=1)
    env.step(0)
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(first, again)
    other, _ = env.reset()
    assert (first != other).any()
    assert env.observation_space.contains(first)


def test_environments_in_lock_step_are_as_alone(choosers: pliant.Experiment) -> None:
    alone = [ElasticServiceEnv(choosers, **SMALL) for _ in range(2)]
    together = ElasticServiceVectorEnv(choosers, 2, **SMALL)
    assert together.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    observations, info = together.reset(seed=0)
    single = [env.reset(seed=nth) for nth, env in enumerate(alone)]
    np.testing.assert_array_equal(observations, [of for of, _ in single])
    for _ in range(40):
        actions = info["action_mask"].argmax(axis=1)
        observations, rewards, over, cut, info = together.step(actions)
        steps = [env.step(int(action)) for env, action in zip(alone, actions, strict=True)]
        np.testing.assert_array_equal(observations, [step[0] for step in steps])
        assert rewards.tolist() == [step[1] for step in steps]
        assert over.tolist() == [step[2] for step in steps]
        assert not cut.any()
    assert over.all()
    # The next step begins the traces at 2 and 3, which is the one at 0.
    observations, rewards, over, _, _ = together.step(actions)
    assert not rewards.any()
    assert not over.any()
    np.testing.assert_array_equal(observations[0], alone[0].reset(seed=2)[0])
    np.testing.assert_array_equal(observations[1], alone[1].reset(seed=3)[0])
    assert together.observation_space.contains(observations)
