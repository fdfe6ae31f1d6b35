"""Logs for bandits and off-policy learning, with the reward of every action.

In the field a log has the reward of what was done. Here the answer to every plan is known, so that
an estimate from the log can be held against the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _native
from ._errors import PliantError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._experiment import Experiment

BEHAVIOURS = ("feasible", "uniform")
"""Plans drawn evenly from those that are forecast to be in time, or from all."""


def export(
    experiment: Experiment,
    *,
    like: str = "",
    device: str | None = None,
    methods: Sequence[str] | None = None,
    alphas: Sequence[float] | None = None,
    seeds: int | None = None,
    first_seed: int | None = None,
    requests: int | None = None,
    behaviour: str = "feasible",
    seed: int = 0,
) -> dict[str, Any]:
    """Play every trace with random plans and log it, as the Open Bandit Pipeline names columns.

    Args:
        experiment: Where traces, answers and times come from.
        like: The method whose plans are chosen from; ``""``: the experiment's first.
        device: Name of the device's folder; None: the experiment's first.
        methods: Those that what is learned is to be compared with, as in `pliant.gym`.
        alphas: Skews of the SLO levels.
        seeds: How many traces for each.
        first_seed: Seed of the first.
        requests: Requests of a trace.
        behaviour: One of `BEHAVIOURS`.
        seed: Of what is drawn.

    Returns:
        By name, ``n`` being the rounds:

        - ``n_rounds``, ``n_actions``;
        - ``context``: float32[n, numbers], the observation of `pliant.gym.ElasticServiceEnv`;
        - ``action``: int64[n], the plan that was drawn; ``position``: None, there is one;
        - ``reward``: float64[n], how right its answer was, 0 if late;
        - ``pscore``: float64[n], the probability with which it was drawn;
        - ``pi_b``: float64[n, actions, 1], that of each plan;
        - ``expected_reward``: float64[n, actions], the reward of each plan, exactly: what it would
          have come to after the same requests before;
        - ``action_context``: float64[actions, 2], level and prompt ratio of each plan;
        - ``action_mask``: int8[n, actions], 1 for plans that are forecast to be in time;
        - ``id``, ``seed``, ``alpha``, ``waited_ms``, ``dataset``, ``item``: which request it was.

    Raises:
        PliantError: If an input is wrong.

    """
    if behaviour not in BEHAVIOURS:
        raise PliantError(
            "is no behaviour",
            file="argument behaviour",
            found=repr(behaviour),
            allowed=", ".join(BEHAVIOURS),
        )
    narrowed = {
        "methods": None if methods is None else list(methods),
        "devices": [device or experiment.devices[0]],
        "alphas": None if alphas is None else list(alphas),
        "seeds": seeds,
        "first_seed": first_seed,
        "requests": requests,
    }
    feasible = behaviour == "feasible"
    log: dict[str, Any] = _native.bandit_log(experiment._native, narrowed, like, feasible, seed)
    mask = log["action_mask"] if feasible else np.ones_like(log["action_mask"])
    drawn = mask / mask.sum(axis=1, keepdims=True)
    for name in ("dataset", "item"):
        log[name] = np.asarray(log[name], dtype=object)
    rounds, actions = mask.shape
    return {
        "n_rounds": rounds,
        "n_actions": actions,
        "action_context": log.pop("plans"),
        "position": None,
        "pi_b": drawn[:, :, None],
        **log,
    }
