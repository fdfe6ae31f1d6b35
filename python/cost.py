"""What a large comparison costs on many machines: on paper and by simulation.

python python/cost.py experiments/choosers.toml

Run by ``make cost``. Shards of small versions of the experiment are timed first, each in a process
of its own, with one trace and as many runs as the experiment has cells. A shard of ``k`` runs over
a trace of ``r`` requests then takes

    seconds(k, r) = read + make * r + replay * k * r
    memory(r) = base + hold * r
    returned(k, r) = returned * k * r

whose coefficients are fitted to these times: what it reads whatever the trace, the trace that it
makes, and the runs over it. What returns is whether each answer was right. What this does not
know: how fast a network is, that cores of one machine share its memory's bandwidth, and what a
queue of jobs adds to each.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pliant
from pliant import _native

CELLS = 100_000
REQUESTS = 10_000_000
RUNS_PER_SHARD = (1, 8, 64)
TRIED_REQUESTS = (20_000, 100_000, 500_000)
# Is timed and not fitted. Runs as long as this one keep a sketch of their times, not each of them.
CHECKED_REQUESTS = 2_000_000
# Of the machines in the simulation.
CORES = 128
CORES_PER_MACHINE = 16
SPOT_LIFE_HOURS = 4.0
NEW_MACHINE_SECONDS = 120.0
SEED = 7


@dataclass(frozen=True)
class Timed:
    """A shard that was worked off."""

    runs: int
    requests: int
    seconds: float
    memory_bytes: int
    returned_bytes: int


@dataclass(frozen=True)
class Cost:
    """Coefficients of the formulas above, seconds and bytes."""

    read: float
    make: float
    replay: float
    base: float
    hold: float
    returned: float
    inputs: int

    def seconds(self, runs: float, requests: float) -> float:
        """Of a shard, on one core."""
        return self.read + self.make * requests + self.replay * runs * requests

    def memory(self, requests: float) -> float:
        """Of a shard, in bytes."""
        return self.base + self.hold * requests


def small(experiment: pliant.Experiment, requests: int, folder: Path) -> Path:
    """The experiment with one trace of ``requests``, as a file."""
    spec = experiment.spec
    spec |= {"seeds": 1, "outcomes": "none"}
    spec["trace"] |= {"requests": requests, "alphas": spec["trace"]["alphas"][:1]}
    file = folder / f"{experiment.name}-{requests}.toml"
    file.write_text(_native.toml_of(json.dumps(stated(spec))))
    return file


def stated(value: Any) -> Any:
    """The value without keys that state nothing, which TOML cannot say."""
    if isinstance(value, dict):
        return {key: stated(of) for key, of in value.items() if of is not None}
    return [stated(of) for of in value] if isinstance(value, list) else value


def timed(file: Path, requests: int, shards: int) -> Timed:
    """The mean over all ``shards``, each worked off in a process of its own."""
    runs, seconds, memory, back = 0, 0.0, 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for nth in range(1, shards + 1):
            command = [sys.executable, __file__, "--work", str(file), f"{nth}/{shards}", scratch]
            said = subprocess.run(command, capture_output=True, text=True, check=True)
            own = json.loads(said.stdout)
            runs, seconds, memory = runs + own[0], seconds + own[1], max(memory, own[2])
        back = sum(one.stat().st_size for one in Path(scratch).rglob("*") if one.is_file())
    return Timed(runs // shards, requests, seconds / shards, memory, back // shards)


def work(file: Path, shard: str, out: Path) -> None:
    """What that process does: runs, seconds of its processor and its most memory go to stdout."""
    start = time.process_time()
    runs, _ = _native.run_shard(_native.Experiment.load(file), shard, out, None)
    seconds = time.process_time() - start
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([runs, seconds, memory]))


def measured(path: Path) -> tuple[list[Timed], int]:
    """Shards of all runs and of one, at every length tried; and how many bytes they read.

    The last one is of the length that is checked.
    """
    experiment = pliant.load(path)
    points = []
    with tempfile.TemporaryDirectory() as scratch:
        for requests in TRIED_REQUESTS:
            file = small(experiment, requests, Path(scratch))
            points.append(timed(file, requests, 1))
            points.append(timed(file, requests, points[-1].runs))
        file = small(experiment, CHECKED_REQUESTS, Path(scratch))
        points.append(timed(file, CHECKED_REQUESTS, 1))
        plan = _native.ShardPlan.of(_native.Experiment.load(file), 1)
        inputs = sum(one.stat().st_size for one in plan.inputs)
    return points, inputs


def fitted(points: list[Timed], inputs: int) -> Cost:
    """The coefficients that foretell all but the last point best, relative to each."""
    *tried, checked = points
    seconds = np.array([one.seconds for one in tried])
    of = np.array([[1.0, one.requests, one.runs * one.requests] for one in tried])
    read, make, replay = np.linalg.lstsq(of / seconds[:, None], np.ones(len(tried)), rcond=None)[0]
    memory = np.array([one.memory_bytes for one in tried])
    of = np.array([[1.0, one.requests] for one in tried])
    base, hold = np.linalg.lstsq(of / memory[:, None], np.ones(len(tried)), rcond=None)[0]
    returned = checked.returned_bytes / (checked.runs * checked.requests)
    read, make, replay, base, hold = map(float, (read, make, replay, base, hold))
    return Cost(read, make, replay, base, hold, returned, inputs)


def simulated(seconds: float, shards: int) -> tuple[float, int]:
    """Hours until the last of ``shards`` is done on machines that may be taken away, and losses.

    A free core takes the next shard. A machine is there for a time that is exponentially
    distributed; its cores lose what they were at, which is sent again, and another one takes its
    place two minutes later.
    """
    draw = random.Random(SEED)
    machines = CORES // CORES_PER_MACHINE
    mean = 3600 * SPOT_LIFE_HOURS
    ends = [draw.expovariate(1 / mean) for _ in range(machines)]
    free = [(0.0, machine) for machine in range(machines) for _ in range(CORES_PER_MACHINE)]
    heapq.heapify(free)
    left, lost, last = shards, 0, 0.0
    pending: list[float] = []
    while left or pending:
        now, machine = heapq.heappop(free)
        if not left:
            again = heapq.heappop(pending)
            left, now = left + 1, max(now, again)
        while now >= ends[machine]:
            began = ends[machine] + NEW_MACHINE_SECONDS
            ends[machine] = began + draw.expovariate(1 / mean)
            now = max(now, began)
        left -= 1
        if now + seconds > ends[machine]:
            lost += 1
            heapq.heappush(pending, ends[machine])
            now = ends[machine]
        else:
            now += seconds
            last = max(last, now)
        heapq.heappush(free, (now, machine))
    return last / 3600, lost


def table(cost: Cost) -> list[str]:
    """One line for each size of shards."""
    lines = [
        f"{'runs/shard':>10} {'shards':>8} {'min/shard':>10} {'core-hours':>11} "
        f"{'hours':>7} {'simulated':>10} {'lost':>6} {'sent GB':>8} {'back GB':>8}"
    ]
    for runs in RUNS_PER_SHARD:
        shards = -(-CELLS // runs)
        seconds = cost.seconds(runs, REQUESTS)
        hours, lost = simulated(seconds, shards)
        sent = cost.inputs * CORES / CORES_PER_MACHINE
        back = cost.returned * CELLS * REQUESTS
        core_hours = shards * seconds / 3600
        lines.append(
            f"{runs:>10} {shards:>8,} {seconds / 60:>10.1f} {core_hours:>11,.0f} "
            f"{core_hours / CORES:>7.2f} {hours:>10.2f} {lost:>6,} "
            f"{sent / 1e9:>8.2f} {back / 1e9:>8,.0f}"
        )
    return lines


def main() -> None:
    """Time shards of the experiment and print what the large one costs."""
    parser = argparse.ArgumentParser(description="what a large comparison costs")
    parser.add_argument("experiment", type=Path)
    points, inputs = measured(parser.parse_args().experiment)
    cost = fitted(points, inputs)
    print("runs in a shard, requests of each, seconds of a core, foretold; MB of memory, foretold")
    for one in points:
        foretold = cost.seconds(one.runs, one.requests)
        print(
            f"{one.runs:>5} {one.requests:>9,} {one.seconds:>8.2f} {foretold:>8.2f} "
            f"{one.memory_bytes / 1e6:>8.0f} {cost.memory(one.requests) / 1e6:>8.0f}"
        )
    print(
        f"read {cost.read:.2f} s, make {1e6 * cost.make:.2f} us/request, "
        f"replay {1e6 * cost.replay:.3f} us/request and run"
    )
    print(
        f"{CELLS:,} cells of {REQUESTS:,} requests on {CORES} cores, "
        f"{cost.memory(REQUESTS) / 1e9:.1f} GB of memory a core"
    )
    print("\n".join(table(cost)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        file, shard, out = sys.argv[2:]
        work(Path(file), shard, Path(out))
    else:
        main()
