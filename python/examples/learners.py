"""Learn to plan, with NumPy alone, and be judged on items that were not learned from.

Three learners over the plans of ``elastilm``:

- ``linucb``: ridge regression of rewards on features of ⟨request, plan⟩, shared by all plans, with
  an upper confidence bound while it learns (Li et al., 2010, the shared part), and the feasible
  plan of the largest estimate once it has learned;
- ``neural``: a network of one hidden layer that estimates the reward of each plan from the same
  features, told the reward of *every* plan, and the feasible plan of the largest estimate;
- ``reinforce``: a softmax policy over the same features, masked to feasible plans, whose weights
  climb the reward (Williams, 1992) with the mean as a baseline.

They are compared with the table (``elastic-profile+lora``), the decision-head (``elastilm``),
chance (``random-feasible``) and the oracle, on requests for held-out items alone: an item is
learned from or judged on, by a hash of its name. Differences from the table have 95 % bootstrap
intervals over items.

    python python/examples/learners.py target/learned

leaves there what was learned (``NAME.npz``), what it planned (``NAME.csv``), and an experiment that
replays these plans as methods: ``pliant run target/learned/learned.toml``.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pliant
from numpy.typing import NDArray
from pliant import Menu, Request, Service, bandit

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]
"""A score of each plan, float64[plans], from what is known of it, float64[plans, FEATURES]."""

TABLE = "elastic-profile+lora"
LIKE = "elastilm"
OTHERS = ["elastilm", TABLE, "random-feasible", "oracle"]
FEATURES = 8
HIDDEN = 16


def features(expected: Floats, probability: Floats, plans: Floats, load: Floats) -> Floats:
    """What the learners know of each plan, float64[..., plans, FEATURES]."""
    expected, probability = np.nan_to_num(expected), np.nan_to_num(probability)
    level, ratio = (np.broadcast_to(plans[:, part], load.shape) for part in (0, 1))
    one = np.ones_like(level)
    in_time = (load <= 1).astype(float)
    columns = [one, expected, probability, level, ratio, level * ratio, in_time]
    return np.stack([*columns, expected * probability], axis=-1).astype(float)


def is_held_out(dataset: str, item: str) -> bool:
    """Whether an item is judged on, not learned from: half of them are."""
    return hashlib.sha256(f"learners:{dataset}:{item}".encode()).digest()[0] % 2 == 1


@dataclass(frozen=True)
class Linear:
    """A score that is linear in what is known."""

    weights: Floats
    """float64[FEATURES]"""

    def __call__(self, known: Floats) -> Floats:
        """Of each plan."""
        score: Floats = known @ self.weights
        return score


@dataclass(frozen=True)
class Network:
    """A score by one hidden layer: the log-odds of a reward."""

    hidden: Floats
    """float64[FEATURES, HIDDEN]"""
    out: Floats
    """float64[HIDDEN]"""

    def __call__(self, known: Floats) -> Floats:
        """Of each plan."""
        score: Floats = np.tanh(known @ self.hidden) @ self.out
        return score

    def gradients(self, known: Floats, rewards: Floats) -> tuple[Floats, Floats]:
        """Of the mean cross-entropy between the estimates and ``rewards``, float64[rows]."""
        inner = np.tanh(known @ self.hidden)
        error = (1 / (1 + np.exp(-inner @ self.out)) - rewards) / len(rewards)
        back = np.outer(error, self.out) * (1 - inner**2)
        return known.T @ back, inner.T @ error


class Learned:
    """The feasible plan of the largest score; it keeps nothing but weights."""

    like = LIKE
    depends_on = "resident"

    def __init__(self, name: str, score: Linear | Network) -> None:
        """Choose by ``score``."""
        self.name, self.score = name, score

    def plan(self, request: Request, service: Service, menu: Menu) -> int:
        """Choose it; without a feasible one, the least late."""
        if not menu.feasible.any():
            return menu.least_late()
        assert menu.probability is not None
        plans = np.stack([menu.level, menu.prompt_ratio], axis=1)
        known = features(menu.expected_accuracy, menu.probability, plans, menu.load)
        return int(np.where(menu.feasible, self.score(known), -np.inf).argmax())

    def save(self, path: Path) -> None:
        """Write the weights, for `load`."""
        np.savez(path, **vars(self.score))

    @classmethod
    def load(cls, path: Path) -> Learned:
        """Read what `save` wrote."""
        weights = dict(np.load(path))
        score = Linear(**weights) if "weights" in weights else Network(**weights)
        return cls(path.stem, score)


class Log:
    """What there is to learn from: requests for items that are not held out."""

    def __init__(self, experiment: pliant.Experiment, **options: Any) -> None:
        """Log random plans."""
        log = bandit.export(experiment, like=LIKE, methods=OTHERS, **options)
        learn = [
            not is_held_out(dataset, item)
            for dataset, item in zip(log["dataset"], log["item"], strict=True)
        ]
        self.plans: Floats = log["action_context"]
        self.mask: NDArray[np.bool_] = log["action_mask"][learn].astype(bool)
        self.rewards: Floats = log["expected_reward"][learn]
        # An observation ends with three numbers a plan.
        of_plans = log["context"][learn][:, -3 * len(self.plans) :]
        self._seen = of_plans.reshape(-1, 3, len(self.plans))

    def __len__(self) -> int:
        """How many rounds."""
        return len(self.rewards)

    def seen(self, nth: int | NDArray[np.int64]) -> Floats:
        """Features of the plans in round ``nth``, or in each of some rounds."""
        load, expected, probability = (self._seen[nth, ..., part, :] for part in range(3))
        return features(expected, probability, self.plans, load)


@dataclass(frozen=True)
class Learning:
    """What was learned, and the reward of each round while it was."""

    score: Linear | Network
    curve: Floats


def linucb(log: Log, width: float = 0.5, ridge: float = 1.0) -> Learning:
    """Learn from the reward of what was chosen, in one pass."""
    precision, moment = ridge * np.eye(FEATURES), np.zeros(FEATURES)
    curve = []
    for nth in range(len(log)):
        known, inverse = log.seen(nth), np.linalg.inv(precision)
        bonus = np.sqrt(np.einsum("pf,fg,pg->p", known, inverse, known))
        score = np.where(log.mask[nth], known @ (inverse @ moment) + width * bonus, -np.inf)
        chosen = score.argmax()
        reward = log.rewards[nth, chosen]
        precision += np.outer(known[chosen], known[chosen])
        moment += reward * known[chosen]
        curve.append(reward)
    weights: Floats = np.asarray(np.linalg.solve(precision, moment), dtype=np.float64)
    return Learning(Linear(weights), np.array(curve))


def neural(
    log: Log, rate: float = 0.01, passes: int = 2, batch: int = 32, seed: int = 0
) -> Learning:
    """Learn from the rewards of all feasible plans, ``batch`` rounds at a time, by Adam."""
    draws = np.random.default_rng(seed)
    spread = 1 / np.sqrt(FEATURES)
    weights = [draws.normal(0, spread, (FEATURES, HIDDEN)), np.zeros(HIDDEN)]
    mean, square = ([np.zeros_like(one) for one in weights] for _ in range(2))
    curve: list[float] = []
    order = np.concatenate([draws.permutation(len(log)) for _ in range(passes)])
    for step, start in enumerate(range(0, len(order), batch), 1):
        rounds = order[start : start + batch]
        known, mask, network = log.seen(rounds), log.mask[rounds], Network(*weights)
        chosen = np.where(mask, network(known), -np.inf).argmax(axis=1)
        curve.extend(log.rewards[rounds, chosen])
        gradients = network.gradients(known[mask], log.rewards[rounds][mask])
        for nth, gradient in enumerate(gradients):
            mean[nth] += 0.1 * (gradient - mean[nth])
            square[nth] += 0.001 * (gradient**2 - square[nth])
            size = np.sqrt(square[nth] / (1 - 0.999**step)) + 1e-8
            weights[nth] -= rate * mean[nth] / (1 - 0.9**step) / size
    return Learning(Network(*weights), np.array(curve))


def reinforce(log: Log, rate: float = 0.5, passes: int = 2, seed: int = 0) -> Learning:
    """Learn from the reward of what was drawn, in some passes."""
    draws = np.random.default_rng(seed)
    weights, baseline, curve = np.zeros(FEATURES), 0.0, []
    for nth in list(range(len(log))) * passes:
        known = log.seen(nth)
        score = np.where(log.mask[nth], known @ weights, -np.inf)
        chance = np.exp(score - score.max())
        chance /= chance.sum()
        chosen = draws.choice(len(chance), p=chance)
        reward = log.rewards[nth, chosen]
        weights += rate * (reward - baseline) * (known[chosen] - chance @ known)
        baseline += 0.01 * (reward - baseline)
        curve.append(reward)
    return Learning(Linear(weights), np.array(curve))


LEARNERS: dict[str, Callable[[Log], Learning]] = {
    "linucb": linucb,
    "neural": neural,
    "reinforce": reinforce,
}


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


Judged = dict[str, tuple[float, float, float, float]]
"""By method: accuracy@SLO, its lead over the table, the interval of that."""


def compare(results: pliant.Results, methods: list[str], say: Callable[[str], object]) -> Judged:
    """Judge ``methods`` against the table on held-out items."""
    table, items = judged(results, TABLE)
    say(f"{len(table)} requests for {len(set(items))} held-out items")
    shown: Judged = {}
    for method in methods:
        rewards, _ = judged(results, method)
        low, high = interval(rewards - table, items)
        share, lead = float(rewards.mean()), float((rewards - table).mean())
        shown[method] = (share, lead, low, high)
        say(f"{method:<22} {share:.3f}  {lead:+.3f} ({low:+.3f} to {high:+.3f}) from the table")
    return shown


def replayable(
    experiment: pliant.Experiment, folder: Path, options: dict[str, Any], learned: Iterable[str]
) -> pliant.Experiment:
    """Write ``folder/learned.toml``: the plans in ``folder`` are methods beside the others."""
    spec = experiment.spec
    named = {method["name"]: method for method in spec["methods"]}
    head = named[LIKE]["policy"]["decisions"]
    own = [
        {**named[LIKE], "name": name, "policy": recorded(folder / f"{name}.csv", head)}
        for name in learned
    ]
    spec["methods"] = own + [named[name] for name in OTHERS]
    spec["devices"] = spec["devices"][:1]
    spec["seeds"] = options["seeds"]
    spec["trace"].update(alphas=options["alphas"], requests=options["requests"])
    return pliant.save(spec, folder / "learned.toml")


def recorded(plans: Path, head: str) -> dict[str, Any]:
    """The policy that chooses the plans in a file, the head's time being billed."""
    return {"kind": "recorded", "plans": str(plans), "decisions": head}


def main(
    experiment: pliant.Experiment,
    *,
    seeds: int = 20,
    requests: int = 600,
    folder: Path | None = None,
    say: Callable[[str], object] = print,
) -> tuple[dict[str, Learning], Judged]:
    """Learn, judge, and say it; ``folder`` keeps what was learned and planned."""
    options: dict[str, Any] = {"alphas": [0.0], "seeds": seeds, "requests": requests}
    device = experiment.devices[0]
    log = Log(experiment, device=device, first_seed=1000, **options)
    learned = {name: learn(log) for name, learn in LEARNERS.items()}
    for name, learning in learned.items():
        parts = np.array_split(learning.curve, 5)
        say(f"{name} while it learns: " + " ".join(f"{part.mean():.3f}" for part in parts))
    policies = [Learned(name, learning.score) for name, learning in learned.items()]
    results = experiment.run(policies, methods=OTHERS, devices=[device], plans=folder, **options)
    shown = compare(results, [*learned, *OTHERS], say)
    if folder is not None:
        for policy in policies:
            policy.save(folder / f"{policy.name}.npz")
        replayable(experiment, folder, options, learned)
    return learned, shown


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    main(
        pliant.load("experiments/choosers.toml"),
        folder=where,
        say=lambda line: sys.stdout.write(line + "\n"),
    )
