"""Gymnasium environments: an episode is a trace, a step the plan for one request.

An observation is a ``float32`` vector in a fixed order, which `ElasticServiceEnv.parts` names:

====================  =========================================================================
``prompt_tokens``     length of the full prompt
``output_tokens``     tokens to generate
``ttft_objective``    most time to the first token, as a share of the base model's
``tpot_objective``    most time per token after it, likewise
``waited_ms``         how long the request has waited
``queued``            requests that wait behind it
``resident``          level in memory as a share; 0 before the first request
``speed``             the machine's speed, as a share of when it is cool
``app``, ``dataset``  their numbers, in order of first appearance
``load L/R``          of each plan ⟨level, prompt ratio⟩ in percent: forecast over bound, at most 10
``expected_accuracy`` of each plan: share of the dataset's estimate items that it answers rightly
``probability``       of each plan, where the method has a decision-head: that it answers rightly
====================  =========================================================================

What is not known is 0. The right answers are not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _native
from ._errors import PliantError
from ._table import Table

try:
    import gymnasium
    from gymnasium import spaces
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ImportError as error:
    raise PliantError(
        "is not installed, or is an old one",
        file="package gymnasium",
        allowed="1.1 and later: `pip install gymnasium`",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from ._experiment import Experiment

REWARDS = ("right-in-time", "expected")
"""How right the answer was, 0 if late; or the plan's expected accuracy, 0 if late."""


class ElasticServiceEnv(_native.EnvCore, gymnasium.Env[Any, Any]):
    """One service whose plans are the agent's.

    The same requests at the same instants as in a run of the experiment, the same forecasts and
    the same bills: what an agent plans comes to the outcomes of a run with those plans.

    ``step`` gives five values: observation, reward, whether the trace is at its end, False, and a
    dictionary with ``action_mask``, int8[plans]: 1 for plans that are forecast to meet the
    objective, or, where none is, for the one that misses it least.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __new__(cls, experiment: Experiment, **options: Any) -> Any:
        """Read what the experiment names."""
        core = _parts(experiment, options)
        return super().__new__(cls, *core, bool(options.get("record", False)))

    def __init__(
        self,
        experiment: Experiment,
        *,
        like: str = "",
        device: str | None = None,
        methods: Sequence[str] | None = None,
        alphas: Sequence[float] | None = None,
        seeds: int | None = None,
        first_seed: int | None = None,
        requests: int | None = None,
        reward: str = "right-in-time",
        record: bool = False,
    ) -> None:
        """Describe the spaces.

        Args:
            experiment: Where traces, answers and times come from.
            like: The method whose plans are chosen from; ``""``: the experiment's first.
            device: Name of the device's folder; None: the experiment's first.
            methods: Those that the agent is to be compared with: traces are of items that all of
                them have answers to; None: all of the experiment's.
            alphas: Skews of the SLO levels; None: the experiment's.
            seeds: How many traces for each; None: as many as the experiment says.
            first_seed: Seed of the first.
            requests: Steps of an episode; None: as many as it says.
            reward: One of `REWARDS`.
            record: Whether plans and outcomes of all episodes are kept, for `log` and
                `save_plans`.

        """
        super().__init__()
        low, high = _bounds(self.parts())
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self.action_space = spaces.Discrete(self.plans)
        self._next = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin the next episode.

        Args:
            seed: The trace at this place, counted around; None: the one after the last.
            options: ``{"trace": place}`` says the same without seeding anything.

        """
        super().reset(seed=seed)
        if seed is not None:
            self._next = seed
        if options and "trace" in options:
            self._next = int(options["trace"])
        place, self._next = self._next % self.traces, self._next + 1
        return self.begin(place)

    def outcomes(self) -> Table:
        """What became of the requests, as `pliant.Results.outcomes` has it.

        Of the episode at hand; with ``record`` of all of them.
        """
        return Table(self.log())

    def save_plans(self, path: str | PathLike[str]) -> None:
        """Write the plans as a file that a method of kind ``recorded`` takes.

        Of the episode at hand; with ``record`` of all of them. A trace that was played twice has
        the plans of the last time.
        """
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.planned())


class ElasticServiceVectorEnv(_native.VectorCore, VectorEnv[Any, Any, Any]):
    """Services in lock-step, each as `ElasticServiceEnv`; one process, one thread.

    An episode that is at its end begins anew with the next step, whatever its action is, for a
    reward of 0 (``AutoresetMode.NEXT_STEP``): of ``n`` environments the one at ``i`` plays the
    traces ``i``, ``i + n``, ….
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __new__(cls, experiment: Experiment, num_envs: int, **options: Any) -> Any:
        """Read what the experiment names."""
        return super().__new__(cls, *_parts(experiment, options))

    def __init__(
        self,
        experiment: Experiment,
        num_envs: int,
        *,
        like: str = "",
        device: str | None = None,
        methods: Sequence[str] | None = None,
        alphas: Sequence[float] | None = None,
        seeds: int | None = None,
        first_seed: int | None = None,
        requests: int | None = None,
        reward: str = "right-in-time",
    ) -> None:
        """Describe the spaces; the arguments are those of `ElasticServiceEnv`."""
        super().__init__()
        self.num_envs = num_envs
        low, high = _bounds(self.parts())
        self.single_observation_space = spaces.Box(low, high, dtype=np.float32)
        self.single_action_space = spaces.Discrete(self.plans)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._first = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode in each, of the traces from the place ``seed`` on."""
        super().reset(seed=seed)
        first = seed if seed is not None else self._first
        self._first = first + self.num_envs
        return self.begin([first + nth for nth in range(self.num_envs)])


def _parts(
    experiment: Experiment, options: dict[str, Any]
) -> tuple[Any, dict[str, Any], str, bool]:
    """What the native module is made with."""
    reward = options.get("reward", REWARDS[0])
    if reward not in REWARDS:
        raise PliantError(
            "is no reward",
            file="argument reward",
            found=repr(reward),
            allowed=", ".join(REWARDS),
        )
    lists = ("methods", "alphas")
    narrowed = {name: options.get(name) for name in (*lists, "seeds", "first_seed", "requests")}
    for name in lists:
        if narrowed[name] is not None:
            narrowed[name] = list(options[name])
    narrowed["devices"] = [options.get("device") or experiment.devices[0]]
    like = options.get("like") or ""
    return experiment._native, narrowed, like, reward == "expected"


def _bounds(parts: list[tuple[str, float]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    high = np.array([most for _, most in parts], dtype=np.float32)
    return np.zeros_like(high), high
