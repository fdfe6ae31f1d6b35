"""Decisions and steps a second, on one core: what docs/python.md states comes from here.

Run by ``make bench-python``. Every figure is the best of three and counts all that a decision or
a step needs: what is asked, what is simulated, what is kept. Seconds are those of a processor, of
this process and those that it starts, so that others on the machine do not count.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pliant
from numpy.typing import NDArray
from pliant import Batch, Menu, Request, Service
from pliant.gym import ElasticServiceEnv, ElasticServiceVectorEnv

ROOT = Path(__file__).resolve().parents[1]
TIMES = 3
REQUESTS = 40_000
REPLICATIONS = 20
STEPS = 200_000


def scalar(request: Request, service: Service, menu: Menu) -> Any:
    """A rule of ten lines over the arrays of the candidates."""
    fits = menu.feasible
    accuracy = menu.expected_accuracy
    score = np.where(fits, accuracy, -1.0)
    best = score.argmax()
    if not fits[best]:
        return menu.load.argmin()
    if service.queued > 3:
        return np.where(fits, menu.total_ms, np.inf).argmin()
    return best


def constant(request: Request, service: Service, menu: Menu) -> int:
    """No rule at all: what asking costs."""
    return 0


class Vectorised:
    """The same rule for many replications at once."""

    name = "vectorised"

    def plan_batch(self, batch: Batch) -> NDArray[np.int64]:
        """An index for each."""
        fits = batch.feasible
        best: NDArray[np.int64] = np.where(fits, batch.expected_accuracy, -1.0).argmax(axis=1)
        late = ~fits.any(axis=1)
        if late.any():
            best[late] = batch.load[late].argmin(axis=1)
        busy = batch.queued > 3
        if busy.any():
            best[busy] = np.where(fits[busy], batch.total_ms[busy], np.inf).argmin(axis=1)
        return best


def seconds() -> float:
    """What this process and those that it started have taken of a processor."""
    uses = (resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def best_of(times: int, run: Callable[[], int]) -> float:
    """The most of what ``run`` counts a second."""
    rates = []
    for _ in range(times):
        start = seconds()
        count = run()
        rates.append(count / (seconds() - start))
    return max(rates)


def decisions(experiment: pliant.Experiment, policy: Any, requests: int, seeds: int) -> float:
    """Decisions a second of ``policy``, replay and outcomes included, set-up left out."""

    def run(length: int) -> float:
        start = seconds()
        experiment.run([policy], methods=[], requests=length, seeds=seeds, threads=1)
        return seconds() - start

    pairs = [(run(requests // 10), run(requests)) for _ in range(TIMES)]
    return (requests - requests // 10) * seeds / min(long - short for short, long in pairs)


def steps(env: Any, count: int) -> int:
    """Steps of one environment, the first valid action each."""
    _, info = env.reset(seed=0)
    for _ in range(count):
        action = info["action_mask"].argmax() if "action_mask" in info else 0
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            _, info = env.reset()
    return count


def vector_steps(env: Any, count: int) -> int:
    """Steps of environments in lock-step."""
    _, info = env.reset(seed=0)
    rounds = count // int(env.num_envs)
    for _ in range(rounds):
        if "action_mask" in info:
            actions = info["action_mask"].argmax(axis=1)
        else:
            actions = np.zeros(env.num_envs, dtype=np.int64)
        *_, info = env.step(actions)
    return rounds * int(env.num_envs)


def cart_pole(count: int) -> int:
    """Steps of Gymnasium's CartPole."""
    return steps(gymnasium.make("CartPole-v1").unwrapped, count)


def cart_poles(count: int) -> int:
    """Steps of Gymnasium's own vector of them."""
    envs = gymnasium.make_vec("CartPole-v1", num_envs=64, vectorization_mode="vector_entry_point")
    return vector_steps(envs, count)


def say(what: str, rate: float, unit: str) -> None:
    """A line of the table."""
    sys.stdout.write(f"{what:<46} {rate:>12,.0f} {unit}/s\n")
    sys.stdout.flush()


def main() -> None:
    """All of it."""
    os.chdir(ROOT)
    experiment = pliant.load("experiments/own-policy.toml")
    like = "elastic-profile+lora"
    sys.stdout.write(f"{platform.machine()}, Python {platform.python_version()}, ")
    sys.stdout.write(f"NumPy {np.__version__}, Gymnasium {gymnasium.__version__}\n")
    for what, policy, requests, seeds in (
        ("policy that looks at nothing", pliant.policy(constant, like=like), REQUESTS, 2),
        ("policy of ten lines", pliant.policy(scalar, like=like), REQUESTS, 2),
        (
            "the same, asked once for each kind and level",
            pliant.policy(scalar, like=like, depends_on="resident", name="once"),
            REQUESTS,
            REPLICATIONS,
        ),
        (
            f"the same, vectorised over {REPLICATIONS} replications",
            pliant.policy(Vectorised, like=like),
            REQUESTS // 8,
            REPLICATIONS,
        ),
        (
            "the same, vectorised over 1000 replications",
            pliant.policy(Vectorised, like=like),
            500,
            1000,
        ),
    ):
        say(what, decisions(experiment, policy, requests, seeds), "decision")
    protocol(experiment)
    options: dict[str, Any] = {"like": like, "methods": [], "requests": 2000, "seeds": 64}
    env = ElasticServiceEnv(experiment, **options)
    say("environment", best_of(TIMES, lambda: steps(env, STEPS)), "step")
    for count in (64, 1024):
        envs = ElasticServiceVectorEnv(experiment, count, **options)
        rate = best_of(TIMES, partial(vector_steps, envs, STEPS))
        say(f"{count} environments in lock-step", rate, "step")
    say("Gymnasium's CartPole", best_of(TIMES, lambda: cart_pole(STEPS)), "step")
    say("64 CartPoles in lock-step", best_of(TIMES, lambda: cart_poles(STEPS)), "step")


def protocol(experiment: pliant.Experiment) -> None:
    """A program that is asked in lines of JSON, which reads no arrays."""
    method = next(one for one in experiment.spec["methods"] if one["name"] == "wait-aware")
    assert method["policy"]["kind"] == "external"

    def run(length: int) -> float:
        start = seconds()
        experiment.run(methods=["wait-aware"], requests=length, seeds=1, threads=1)
        return seconds() - start

    pairs = [(run(2000), run(REQUESTS)) for _ in range(TIMES)]
    rate = (REQUESTS - 2000) / min(long - short for short, long in pairs)
    say("a program in Python, asked in lines of JSON", rate, "decision")


if __name__ == "__main__":
    main()
