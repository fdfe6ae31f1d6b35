"""MaskablePPO of sb3-contrib, learned from items of its own and judged on held-out ones.

    pip install sb3-contrib
    python python/examples/maskable_ppo.py target/ppo 50000

trains for so many steps, leaves the plans of the agent and an experiment that replays them in the
folder, and compares them as ``learners.py`` does: ``pliant run target/ppo/learned.toml``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import learners
import numpy as np
import pliant
from pliant.gym import ElasticServiceEnv

OPTIONS: dict[str, Any] = {"alphas": [0.0], "seeds": 20, "requests": 600}


def to_learn_from(experiment: pliant.Experiment, folder: Path) -> pliant.Experiment:
    """The experiment over one long trace of requests for items that nobody is judged on."""
    device = experiment.devices[0]
    ran = experiment.run(
        methods=[learners.TABLE], devices=[device], first_seed=1000, **OPTIONS
    ).outcomes
    learn = [
        not learners.is_held_out(*name) for name in zip(ran["dataset"], ran["item"], strict=True)
    ]
    names = ["arrival_ms", "app", "dataset", "item", "prompt_tokens", "output_tokens"]
    columns = {name: ran[name][learn] for name in [*names, "ttft_ratio", "tpot_ratio"]}
    apart = ran["arrival_ms"].max() + 3_600_000
    arrivals = columns["arrival_ms"] + (ran["seed"][learn] - 1000) * apart
    columns["arrival_ms"] = arrivals.round(3)
    columns = {name: of[np.argsort(columns["arrival_ms"])] for name, of in columns.items()}
    columns["id"] = np.arange(sum(learn))
    pliant.Trace.of(columns).write(folder / "trace.csv")
    spec = experiment.spec
    spec["trace"] = {"kind": "file", "path": str(folder / "trace.csv"), "alpha": 0.0}
    return pliant.save(spec, folder / "to-learn-from.toml")


def main(folder: Path, steps: int) -> None:
    """Learn for so many ``steps``, play, replay, compare."""
    from sb3_contrib import MaskablePPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    folder.mkdir(parents=True, exist_ok=True)
    experiment = pliant.load("experiments/choosers.toml")
    where: dict[str, Any] = {"like": learners.LIKE, "methods": learners.OTHERS}
    start, own = time.process_time(), to_learn_from(experiment, folder)
    seen = VecNormalize(DummyVecEnv([lambda: ElasticServiceEnv(own, **where)]), norm_reward=False)
    agent = MaskablePPO("MlpPolicy", seen, seed=0, device="cpu").learn(steps)
    sys.stdout.write(f"{steps} steps, {time.process_time() - start:.0f} processor s\n")
    env = ElasticServiceEnv(experiment, record=True, **where, **OPTIONS)
    for trace in range(env.traces):
        (observation, info), over = env.reset(seed=trace), False
        while not over:
            known = seen.normalize_obs(observation)
            action, _ = agent.predict(
                known, action_masks=info["action_mask"].astype(bool), deterministic=True
            )
            observation, _, over, _, info = env.step(int(action))
    env.save_plans(folder / "maskable-ppo.csv")
    replayed = learners.replayable(experiment, folder, OPTIONS, ["maskable-ppo"])
    learners.compare(replayed.run(), replayed.methods, lambda line: sys.stdout.write(line + "\n"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
