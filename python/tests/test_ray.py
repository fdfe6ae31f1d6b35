"""An experiment on Ray: workers die, nodes come and go, files break, and the bytes are the same."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pliant
import pytest
from conftest import tree
from pliant import _native
from pliant.ray import Report, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ray: Any = importlib.import_module("ray") if importlib.util.find_spec("ray") else None

needs_ray = pytest.mark.skipif(ray is None, reason="needs the package ray")

FILE = Path("experiments/demo.toml")
# What a process of a cluster of these tests has in its environment, and no other has.
MARK = f"PLIANT_RAY_TEST={os.getpid()}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the demo's experiment, in which tests run."""
    _native.demo(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def longer(requests: int) -> None:
    """Have the experiment replay so many requests a run."""
    FILE.write_text(FILE.read_text().replace("requests = 600", f"requests = {requests}"))


def one_machine() -> dict[str, str]:
    """What one machine shows."""
    pliant.load(FILE).run(out="one")
    return tree(Path("one"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray whose head has no worker, and one node with two; it bears the mark."""
    from ray.cluster_utils import Cluster

    name, _, value = MARK.partition("=")
    os.environ[name] = value
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    started.add_node(num_cpus=2)
    yield started
    started.shutdown()
    del os.environ[name]


@pytest.fixture
def two_workers(cluster: Any) -> Iterator[Any]:
    """This process is connected to the cluster."""
    ray.init(cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()


def at_work() -> list[int]:
    """Processes of this test's clusters that work on a shard."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if (process / "cmdline").read_bytes().startswith(
                b"ray::pliant shard"
            ) and MARK.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


class Killer(threading.Thread):
    """Kills workers at random moments of their work, until it has killed enough of them."""

    def __init__(self, kills: int) -> None:
        super().__init__(daemon=True)
        self.wanted, self.killed = kills, set[int]()
        self.over = threading.Event()
        self.random = random.Random(7)

    def run(self) -> None:
        while len(self.killed) < self.wanted and not self.over.is_set():
            time.sleep(self.random.uniform(0.0, 1.0))
            for pid in at_work()[:1]:
                os.kill(pid, signal.SIGKILL)
                self.killed.add(pid)


def watched() -> tuple[list[Report], Callable[[Report], None]]:
    """The reports of a run, and what gathers them."""
    reports: list[Report] = []
    return reports, reports.append


@needs_ray
def test_what_is_merged_has_the_bytes_of_one_machine(project: Path, two_workers: Any) -> None:
    reports, watch = watched()
    results = run(FILE, 5, out="merged", watch=watch)
    assert tree(Path("merged")) == one_machine()
    assert len(results.metrics["method"]) == 16
    assert (reports[-1].done, reports[-1].lost, len(reports[-1].shard_seconds)) == (5, 0, 5)
    reports.clear()
    run(FILE, 5, out="merged", watch=watch)
    assert not reports, "what is there and whole is not worked off again"


@needs_ray
def test_outcomes_that_are_kept_come_back(project: Path, two_workers: Any) -> None:
    FILE.write_text(FILE.read_text().replace('outcomes = "none"', 'outcomes = "first-seed"'))
    run(FILE, 3, out="merged")
    experiment = _native.Experiment.load(FILE)
    _native.run_shard(experiment, "1/1", Path("whole.shards"), None)
    _native.merge_shards([Path("whole.shards")], Path("whole"), False)
    assert any(name.startswith("outcomes/") for name in tree(Path("merged")))
    assert tree(Path("merged")) == tree(Path("whole"))


@needs_ray
@pytest.mark.soak
def test_workers_that_are_killed_change_no_byte(project: Path, two_workers: Any) -> None:
    kills = int(os.environ.get("PLIANT_RAY_KILLS", "2"))
    longer(20_000 * max(kills, 5))
    expected = one_machine()
    killer, lost, runs = Killer(kills), 0, 0
    killer.start()
    while len(killer.killed) < kills or not runs:
        reports, watch = watched()
        run(FILE, 8, out=f"merged-{runs}", retries=kills, watch=watch)
        assert tree(Path(f"merged-{runs}")) == expected
        runs, lost = runs + 1, lost + reports[-1].lost
    killer.over.set()
    killer.join()
    print(f"{kills} workers killed, {lost} tasks sent again, {runs} runs: all hashes equal")
    assert 0 < lost <= kills


@needs_ray
def test_nodes_join_and_are_lost_in_mid_run(project: Path, two_workers: Any) -> None:
    longer(30_000)
    reports, watch = watched()
    (first,) = two_workers.worker_nodes

    def change(report: Report) -> None:
        watch(report)
        if report.done >= 2 and first in two_workers.worker_nodes:
            two_workers.add_node(num_cpus=2)
            two_workers.remove_node(first, allow_graceful=False)

    run(FILE, 40, out="merged", watch=change)
    assert (reports[-1].done, len(reports[-1].nodes)) == (40, 2)
    assert tree(Path("merged")) == one_machine()


@needs_ray
def test_the_command_runs_on_a_cluster_that_is_there(project: Path, cluster: Any) -> None:
    command = [sys.executable, "-m", "pliant.ray", str(FILE), "--shards", "3", "--out", "merged"]
    command += ["--address", cluster.address]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "3 of 3 shards, 1 node" in ran.stdout
    assert tree(Path("merged")) == one_machine()
    FILE.write_text(FILE.read_text() + "\n# edited\n")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("pliant: merged.shards/plan.toml: shards of another plan; found ")


@needs_ray
def test_a_broken_shard_is_found_and_worked_off_again(project: Path, two_workers: Any) -> None:
    run(FILE, 4, out="merged")
    expected = tree(Path("merged"))
    broken = next(Path("merged.shards/runs").rglob("*.toml"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-20])
    reports, watch = watched()
    run(FILE, 4, out="merged", watch=watch)
    assert (reports[-1].were_there, reports[-1].done) == (3, 4)
    assert broken.read_bytes() == whole
    assert tree(Path("merged")) == expected


@needs_ray
def test_a_shard_that_breaks_on_its_way_is_sent_again(
    project: Path, two_workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pliant import _shards

    write, torn = _shards.write, list[str]()

    def tear_the_first(files: Any, folder: Path) -> None:
        if not torn:
            torn.extend(files)
            files = {name: (data[:-1], mode) for name, (data, mode) in files.items()}
        write(files, folder)

    monkeypatch.setattr(_shards, "write", tear_the_first)
    reports, watch = watched()
    run(FILE, 4, out="merged", watch=watch)
    assert (reports[-1].mended, reports[-1].done) == (1, 4)
    assert tree(Path("merged")) == one_machine()


@needs_ray
def test_a_node_without_the_package_is_named(project: Path, cluster: Any) -> None:
    hidden = project / "hidden/pliant"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError(\"No module named 'pliant'\")\n")
    ray.init(
        cluster.address,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(hidden.parent)}},
    )
    with pytest.raises(pliant.PliantError) as raised:
        run(FILE, 2, out="merged")
    ray.shutdown()
    error = raised.value
    assert error.file is not None
    assert error.file.startswith("node ")
    assert (error.place, error.found) == ("package pliant", "No module named 'pliant'")
    assert error.allowed == "the wheel of this program, on every node"


@needs_ray
def test_a_cluster_that_is_not_there_is_named(project: Path) -> None:
    with pytest.raises(pliant.PliantError, match="cannot be reached; found ") as raised:
        run(FILE, 2, out="merged", address="127.0.0.1:9")
    assert (raised.value.file, raised.value.place) == ("Ray cluster", "127.0.0.1:9")


def test_shards_of_another_plan_are_refused(project: Path) -> None:
    experiment = _native.Experiment.load(FILE)
    _native.run_shard(experiment, "1/4", Path("merged.shards"), None)
    FILE.write_text(FILE.read_text() + "\n# edited\n")
    with pytest.raises(pliant.PliantError, match="shards of another plan") as raised:
        run(FILE, 4, out="merged")
    error = raised.value
    assert (error.problem, error.file) == ("shards of another plan", "merged.shards/plan.toml")
    assert error.found is not None
    assert len(error.found) == 12
    assert error.allowed is not None
    assert error.allowed.endswith(": the same experiment, inputs and program")


def test_a_node_with_another_program_is_named() -> None:
    from pliant import _shards

    other = {**_shards.program(), "version": "0.0.1"}
    with pytest.raises(pliant.PliantError, match="is another program than the driver's") as raised:
        _shards.check_program(other, "n1")
    assert (raised.value.file, raised.value.place) == ("node n1", "package pliant")


def test_without_ray_the_extra_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(pliant.PliantError, match=r"package ray: is not installed.*pliant\[ray\]"):
        run(FILE, 2, out="merged")


def test_a_wrong_number_of_shards_is_refused(project: Path) -> None:
    with pytest.raises(pliant.PliantError, match="--shards: out of range; found 0"):
        run(FILE, 0, out="merged")
