"""An experiment on a Ray cluster: its shards are worked off by nodes, and merged here.

python -m pliant.ray EXPERIMENT.toml --shards 100 --out results/mine

Nodes need this package and nothing else: what the experiment reads travels with the tasks, and what
runs show comes back into ``OUT.shards`` as each shard ends. A task whose worker or node is lost is
sent again. Shards that are there and whole are not worked off twice, so a run that was stopped
continues. What is merged has the bytes of ``pliant run``.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections import Counter, deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from . import _native, _shards
from ._errors import PliantError
from ._results import Results

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from os import PathLike

AT_ONCE = 1000
"""Most tasks that the cluster is told of at a time; its scheduler is slow with many more."""

RETRIES = 20
"""How often a shard is sent again before it is given up."""


@dataclass
class Report:
    """What became of a run so far."""

    plan: str
    """Hash of all that its results depend on."""
    shards: int
    """Of the plan."""
    done: int = 0
    """Shards whose runs are in the folder, whole."""
    were_there: int = 0
    """Those that were there before."""
    lost: int = 0
    """Tasks that ended with their worker or node, and were sent again."""
    mended: int = 0
    """Shards that were not whole once they were written, and were sent again."""
    bytes_sent: int = 0
    """Of inputs, once for each node."""
    bytes_received: int = 0
    """Of runs."""
    seconds: float = 0.0
    """Since the start."""
    nodes: set[str] = field(default_factory=set)
    """Identifiers of the nodes that worked off a shard."""
    shard_seconds: dict[str, float] = field(default_factory=dict)
    """How long each shard took on its node."""

    def __str__(self) -> str:
        """In one line."""
        parts = [f"{self.done} of {self.shards} shards"]
        if self.were_there:
            parts.append(f"{self.were_there} of them there already")
        if self.nodes:
            parts.append(f"{len(self.nodes)} node{'s' * (len(self.nodes) > 1)}")
        if self.lost:
            parts.append(f"{self.lost} lost and sent again")
        if self.mended:
            parts.append(f"{self.mended} broken and sent again")
        return ", ".join(parts)


def run(
    path: str | PathLike[str],
    shards: int,
    *,
    out: str | PathLike[str] | None = None,
    address: str | None = None,
    workers: int | None = None,
    retries: int = RETRIES,
    force: bool = False,
    watch: Callable[[Report], None] | None = None,
) -> Results:
    """Work off the shards of an experiment on Ray, and merge them.

    Ray that is running in this process already is used as it is.

    Args:
        path: The experiment file; what it names is from the folder that this program runs in.
        shards: Into how many shards it is divided, 1 to 1,000,000.
        out: The results folder; None: the experiment's in ``results/``. Shards are kept beside it.
        address: Of a running cluster; None: that of the environment variable ``RAY_ADDRESS``, and
            without one a cluster that is started here.
        workers: Processes of a cluster that is started here; None: one for each core.
        retries: How often a shard is sent again before it is given up.
        force: Whether results of another experiment may be replaced at ``out``.
        watch: Is called as shards end, with what became of the run so far.

    Raises:
        PliantError: If an input is wrong, the cluster cannot be reached or lacks this package, the
            folder has shards of another plan, a run fails, or a shard was lost too often. Shards
            that had ended are kept.

    """
    path = Path(path)
    experiment = _native.Experiment.load(path)
    place = Path(out) if out is not None else Path("results") / experiment.name
    folder = place.with_name(f"{place.name}.shards")
    plan = _native.ShardPlan.of(experiment, shards)
    driver = _Driver(path, experiment, plan, folder, retries, watch or (lambda report: None))
    if missing := driver.unfinished():
        ray = _ray()
        with _cluster(ray, address, workers):
            driver.work_off(ray, missing)
    return Results(_native.merge_shards([folder], place, force))


@dataclass
class _Driver:
    """Sends shards to nodes until the folder has them all."""

    path: Path
    experiment: _native.Experiment
    plan: _native.ShardPlan
    folder: Path
    retries: int
    watch: Callable[[Report], None]

    def __post_init__(self) -> None:
        self.report = Report(self.plan.plan, len(self.plan.requests))
        self.tries: Counter[str] = Counter()
        self.start = monotonic()

    def unfinished(self) -> list[str]:
        """Shards that the folder has not whole."""
        missing = self.plan.unfinished(self.experiment, self.folder)
        self.report.done = self.report.shards - len(missing)
        return missing

    def work_off(self, ray: Any, missing: list[str]) -> None:
        """Work off these, and those that are not whole once they are written."""
        self.report.were_there = self.report.done
        inputs = _shards.read(self.plan.inputs)
        self.input_bytes = sum(len(data) for data, _ in inputs.values())
        send = _sender(ray, self.path, inputs, self.folder, self.plan.commit)
        while missing:
            self._round(ray, missing, send)
            missing = self.unfinished()
            self.report.mended += len(missing)
            for shard in missing:
                self._tried(shard, "is not as its node sent it")

    def _round(self, ray: Any, missing: list[str], send: Callable[[str], Any]) -> None:
        waiting, running = deque(missing), dict[Any, str]()
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                shard = waiting.popleft()
                running[send(shard)] = shard
            for ref in ray.wait(list(running), num_returns=1, timeout=1.0)[0]:
                shard = running.pop(ref)
                if not self._ended(ray, shard, ref):
                    waiting.append(shard)
            self._tell()

    def _ended(self, ray: Any, shard: str, ref: Any) -> bool:
        """Keep what a task came to; whether it came to anything."""
        try:
            answer = ray.get(ref)
        except ray.exceptions.RayTaskError as failed:
            raise _own(failed, shard) from failed
        except ray.exceptions.RayError as lost:
            self.report.lost += 1
            self._tried(shard, f"was lost: {type(lost).__name__}")
            return False
        if "files" not in answer:
            raise PliantError(
                "is not installed",
                file=f"node {answer['node']}",
                place="package pliant",
                found=answer["missing"],
                allowed="the wheel of this program, on every node",
            )
        _shards.write(answer["files"], self.folder)
        if answer["node"] not in self.report.nodes:
            self.report.nodes.add(answer["node"])
            self.report.bytes_sent += self.input_bytes
        self.report.bytes_received += sum(len(data) for data, _ in answer["files"].values())
        self.report.shard_seconds[shard] = answer["seconds"]
        self.report.done += 1
        return True

    def _tried(self, shard: str, problem: str) -> None:
        self.tries[shard] += 1
        if self.tries[shard] > self.retries:
            raise PliantError(
                problem,
                file=str(self.folder),
                place=f"shard {shard}",
                found=f"{self.tries[shard]} times",
                allowed=f"{self.retries} times (--retries)",
            )

    def _tell(self) -> None:
        self.report.seconds = monotonic() - self.start
        self.watch(self.report)


def _sender(
    ray: Any, path: Path, inputs: _shards.Files, folder: Path, commit: tuple[str, bool] | None
) -> Callable[[str], Any]:
    """What sends a shard to a node; returns the reference to its answer."""
    shared = ray.put(inputs)
    stated = (folder / _shards.STATED).read_bytes()
    program = _shards.program()
    # Losses are counted and sent again here, where it can be seen.
    remote = ray.remote(num_cpus=1, max_retries=0)(_on_node())

    def send(shard: str) -> Any:
        task = remote.options(name=f"pliant shard {shard}")
        return task.remote(program, (str(path), stated, commit, shard), shared)

    return send


def _on_node() -> Callable[..., dict[str, Any]]:
    """What a node does. It travels as code, so that a node without this package can say so."""

    def on_node(program: Any, of: Any, inputs: Any) -> dict[str, Any]:
        import time

        import ray as ray_here

        node = ray_here.get_runtime_context().get_node_id()
        try:
            from pliant import _shards as shards_here
        except ImportError as missing:
            return {"node": node, "missing": str(missing)}
        shards_here.check_program(program, node)
        start = time.monotonic()
        path, stated, commit, shard = of
        files = shards_here.work(path, inputs, stated, commit, shard)
        return {"node": node, "files": files, "seconds": time.monotonic() - start}

    return on_node


def _own(failed: Any, shard: str) -> PliantError:
    """The error that ended a task, as one of ours."""
    if isinstance(failed.cause, PliantError):
        return failed.cause
    return PliantError("ended with an error", file=f"shard {shard}", found=repr(failed.cause))


def _ray() -> Any:
    """The package of Ray.

    It may ask a server of its makers to count its users; what is run here tells nobody.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as missing:
        raise PliantError(
            "is not installed",
            file="package ray",
            found=str(missing),
            allowed="the extra of this package, pip install 'pliant[ray]'",
        ) from missing
    return ray


def _cluster(ray: Any, address: str | None, workers: int | None) -> AbstractContextManager[Any]:
    """The cluster at ``address``, or one started here, until the context ends."""
    if ray.is_initialized():
        return nullcontext()
    address = address or os.environ.get("RAY_ADDRESS")
    started = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    begin = started if address is None else {"address": address}
    try:
        _knock(address)
        cluster: AbstractContextManager[Any] = ray.init(
            **begin, log_to_driver=False, logging_level="error"
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as failed:
        raise PliantError(
            "cannot be reached",
            file="Ray cluster",
            place=address,
            found=str(failed).strip().partition("\n")[0],
            allowed="HOST:PORT or ray://HOST:PORT of a running cluster with this Ray and Python",
        ) from failed
    return cluster


def _knock(address: str | None) -> None:
    """Fail soon where nobody listens: Ray itself tries for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _progress(report: Report) -> None:
    """Draw a bar on a terminal."""
    width = 24
    full = width * report.done // report.shards
    bar = "█" * full + "░" * (width - full)
    sys.stderr.write(f"\r\x1b[K{bar} {report}, {report.seconds:.0f} s")
    sys.stderr.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pliant.ray",
        description="work off the shards of an experiment on Ray, and merge them",
    )
    parser.add_argument("experiment", type=Path, help="the experiment file")
    parser.add_argument("--shards", type=int, required=True, help="how many shards")
    parser.add_argument("--out", type=Path, help="the results folder; default: results/NAME")
    parser.add_argument("--address", help="of a running cluster; default: one is started here")
    parser.add_argument("--workers", type=int, help="processes of one started here")
    parser.add_argument(
        "--retries", type=int, default=RETRIES, help="how often a shard is sent again"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace results of another experiment"
    )
    return parser.parse_args()


def main() -> int:
    """Read the arguments, run, and say what came of it; returns the exit code."""
    args = _arguments()
    last: list[Report] = []
    is_terminal = sys.stderr.isatty()

    def watch(report: Report) -> None:
        last[:] = [report]
        if is_terminal:
            _progress(report)

    try:
        results = run(
            args.experiment,
            args.shards,
            out=args.out,
            address=args.address,
            workers=args.workers,
            retries=args.retries,
            force=args.force,
            watch=watch,
        )
    except PliantError as error:
        print(f"pliant: {error}", file=sys.stderr)
        return 2
    finally:
        if is_terminal:
            sys.stderr.write("\r\x1b[K")
    for report in last:
        print(f"plan {report.plan[:12]}: {report}, {report.seconds:.1f} s")
    print(f"figures and numbers: {results.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
