"""Learn to plan, with NumPy alone, and be judged on items that were not learned from.

Two learners over the plans of ``elastic-profile+lora``:

- ``linucb``: ridge regression of rewards on features of ⟨request, plan⟩, shared by all plans, with
  an upper confidence bound while it learns (Li et al., 2010, the shared part), and the feasible
  plan of the largest estimate once it has learned;
- ``reinforce``: a softmax policy over the same features, masked to feasible plans, whose weights
  climb the reward (Williams, 1992) with the mean as a baseline.

Both are compared with the table (``elastic-profile+lora``), with chance (``random-feasible``) and
with the oracle, on requests for held-out items alone: an item is learned from or judged on, by a
hash of its name. Differences from the table have 95 % bootstrap intervals over items.

    python python/examples/learners.py
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pliant
from numpy.typing import NDArray
from pliant import Menu, Request, Service, bandit

Floats = NDArray[np.float64]

TABLE = "elastic-profile+lora"
LIKE = "elastilm"
OTHERS = ["elastilm", TABLE, "random-feasible", "oracle"]
FEATURES = 8


def features(expected: Floats, probability: Floats, plans: Floats, load: Floats) -> Floats:
    """What the learners know of each plan, float64[plans, FEATURES]."""
    level, ratio = plans[:, 0], plans[:, 1]
    expected, probability = np.nan_to_num(expected), np.nan_to_num(probability)
    one = np.ones_like(level)
    in_time = (load <= 1).astype(float)
    columns = [one, expected, probability, level, ratio, level * ratio, in_time]
    return np.stack([*columns, expected * probability], axis=1)


def is_held_out(dataset: str, item: str) -> bool:
    """Whether an item is judged on, not learned from: half of them are."""
    return hashlib.sha256(f"learners:{dataset}:{item}".encode()).digest()[0] % 2 == 1


class Learned:
    """The feasible plan of the largest score; it keeps nothing but weights."""

    like = LIKE
    depends_on = "resident"

    def __init__(self, name: str, weights: Floats) -> None:
        """Score by ``weights``, float64[FEATURES]."""
        self.name, self.weights = name, weights

    def plan(self, request: Request, service: Service, menu: Menu) -> int:
        """Choose it; without a feasible one, the least late."""
        if not menu.feasible.any():
            return menu.least_late()
        assert menu.probability is not None
        plans = np.stack([menu.level, menu.prompt_ratio], axis=1)
        known = features(menu.expected_accuracy, menu.probability, plans, menu.load)
        return int(np.where(menu.feasible, known @ self.weights, -np.inf).argmax())


class Log:
    """What there is to learn from: requests for items that are not held out."""

    def __init__(self, experiment: pliant.Experiment, **options: Any) -> None:
        """Log random plans."""
        log = bandit.export(experiment, like=LIKE, methods=OTHERS, **options)
        learn = [
            not is_held_out(dataset, item)
            for dataset, item in zip(log["dataset"], log["item"], strict=True)
        ]
        self.rounds: list[int] = np.flatnonzero(learn).tolist()
        self.plans: Floats = log["action_context"]
        self.context, self.mask = log["context"], log["action_mask"].astype(bool)
        self.rewards: Floats = log["expected_reward"]

    def seen(self, nth: int) -> Floats:
        """Features of the plans in round ``nth``; an observation ends with three numbers a plan."""
        load, expected, probability = self.context[nth, -3 * len(self.plans) :].reshape(3, -1)
        return features(expected, probability, self.plans, load)


def linucb(log: Log, width: float = 0.5, ridge: float = 1.0) -> tuple[Floats, list[float]]:
    """Weights, and the reward of each round while it learned."""
    precision, moment = ridge * np.eye(FEATURES), np.zeros(FEATURES)
    curve = []
    for nth in log.rounds:
        known, inverse = log.seen(nth), np.linalg.inv(precision)
        bonus = np.sqrt(np.einsum("pf,fg,pg->p", known, inverse, known))
        score = np.where(log.mask[nth], known @ (inverse @ moment) + width * bonus, -np.inf)
        chosen = score.argmax()
        reward = log.rewards[nth, chosen]
        precision += np.outer(known[chosen], known[chosen])
        moment += reward * known[chosen]
        curve.append(float(reward))
    weights: Floats = np.asarray(np.linalg.solve(precision, moment), dtype=np.float64)
    return weights, curve


def reinforce(
    log: Log, rate: float = 0.5, passes: int = 2, seed: int = 0
) -> tuple[Floats, list[float]]:
    """Weights, and the reward of each round while it learned."""
    draws = np.random.default_rng(seed)
    weights, baseline, curve = np.zeros(FEATURES), 0.0, []
    for _ in range(passes):
        for nth in log.rounds:
            known = log.seen(nth)
            score = np.where(log.mask[nth], known @ weights, -np.inf)
            chance = np.exp(score - score.max())
            chance /= chance.sum()
            chosen = draws.choice(len(chance), p=chance)
            reward = log.rewards[nth, chosen]
            weights += rate * (reward - baseline) * (known[chosen] - chance @ known)
            baseline += 0.01 * (reward - baseline)
            curve.append(float(reward))
    return weights, curve


def interval(difference: Floats, items: NDArray[Any], draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over items: each item's requests stay together."""
    _, place = np.unique(items, return_inverse=True)
    sums, counts = np.bincount(place, difference), np.bincount(place)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def judged(results: pliant.Results, method: str) -> tuple[Floats, NDArray[Any]]:
    """Rewards of a method on held-out items, in the order of requests, and the items."""
    outcomes = results.outcomes.where(method=method)
    names = np.array(
        [f"{d}:{i}" for d, i in zip(outcomes["dataset"], outcomes["item"], strict=True)]
    )
    held = np.array([is_held_out(*name.split(":", 1)) for name in names])
    order = np.lexsort((outcomes["id"][held], outcomes["seed"][held], outcomes["alpha"][held]))
    return outcomes["reward"][held][order], names[held][order]


def main(
    experiment: pliant.Experiment,
    *,
    seeds: int = 20,
    requests: int = 600,
    plans: str | None = None,
    say: Callable[[str], object] = print,
) -> dict[str, tuple[float, float, float, float]]:
    """Learn, judge, and say it: by method accuracy@SLO, its lead over the table, the interval."""
    options: dict[str, Any] = {"alphas": [0.0], "seeds": seeds, "requests": requests}
    device = experiment.devices[0]
    log = Log(experiment, device=device, first_seed=1000, **options)
    learners = {"linucb": linucb(log), "reinforce": reinforce(log)}
    for name, (_, curve) in learners.items():
        parts = np.array_split(np.array(curve), 5)
        say(f"{name} while it learns: " + " ".join(f"{part.mean():.3f}" for part in parts))
    policies = [Learned(name, weights) for name, (weights, _) in learners.items()]
    results = experiment.run(policies, methods=OTHERS, devices=[device], plans=plans, **options)
    table, items = judged(results, TABLE)
    say(f"{len(table)} requests for {len(set(items))} held-out items on {device}")
    shown = {}
    for method in [*learners, *OTHERS]:
        rewards, _ = judged(results, method)
        low, high = interval(rewards - table, items)
        shown[method] = (rewards.mean(), (rewards - table).mean(), low, high)
        share, lead = shown[method][:2]
        say(f"{method:<22} {share:.3f}  {lead:+.3f} ({low:+.3f} to {high:+.3f}) from the table")
    return shown


if __name__ == "__main__":
    main(pliant.load("experiments/choosers.toml"), say=lambda line: sys.stdout.write(line + "\n"))
