"""Experiments: methods, devices and traces that are compared."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _native
from ._errors import PliantError
from ._explanation import Explanation
from ._policies import named
from ._results import Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

    from ._policies import AnyPolicy, Named


class Experiment:
    """A comparison, as an experiment file states it (docs/experiments.md)."""

    def __init__(self, native: _native.Experiment) -> None:
        """Of what was read; `load` reads a file."""
        self._native = native
        self._kept: Any = None

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self._native.name

    @property
    def description(self) -> str:
        """What it shows, in a sentence."""
        return self._native.description

    @property
    def spec(self) -> dict[str, Any]:
        """All that it states; changing the result changes nothing."""
        spec: dict[str, Any] = json.loads(self._native.to_json())
        return spec

    @property
    def methods(self) -> list[str]:
        """Names of its methods."""
        return [method["name"] for method in self.spec["methods"]]

    @property
    def devices(self) -> list[str]:
        """Names of its devices' folders."""
        return [Path(device["dir"]).name for device in self.spec["devices"]]

    def run(
        self,
        policies: Iterable[AnyPolicy | Named] | Mapping[str, AnyPolicy | Named] = (),
        *,
        methods: Sequence[str] | None = None,
        devices: Sequence[str] | None = None,
        alphas: Sequence[float] | None = None,
        seeds: int | None = None,
        first_seed: int | None = None,
        requests: int | None = None,
        threads: int = 0,
        out: str | PathLike[str] | None = None,
        plans: str | PathLike[str] | None = None,
        features: Mapping[tuple[str, str], Any] | None = None,
        on_error: str = "raise",
    ) -> Results:
        """Replay every method, and ``policies`` before them, under every seed.

        All of them meet the same requests. Policies are asked on this thread, in order of service,
        replication by replication; what they planned is then replayed as any other method is.

        Args:
            policies: Policies of yours (see `policy`): a list, or by name.
            methods: Names of the experiment's methods to run; None: all.
            devices: Names of its devices' folders; None: all.
            alphas: Skews of the SLO levels; None: the experiment's.
            seeds: How many replications; None: as many as it says.
            first_seed: Seed of the first.
            requests: Requests of a synthesised trace; None: as many as it says.
            threads: Threads for the replays; 0: one per core.
            out: A results folder to write; None: one that goes with the results.
            plans: A folder for what each policy planned, ``NAME.csv``, which a method of kind
                ``recorded`` takes; None: it is not written.
            features: By ``(dataset, item)``, what policies are told of a request for this item, as
                ``request.features``: its text (`prompts`), an embedding, anything but its answer.
            on_error: What to do if a policy fails: ``"raise"`` its error, whose ``results`` are
                those of the others, or ``"keep"`` it in ``failures`` of the results.

        Raises:
            PliantError: If an input is wrong, or a policy raised or answered nonsense.

        """
        if on_error not in ("raise", "keep"):
            raise PliantError(
                "is neither", file="argument on_error", found=repr(on_error), allowed="raise, keep"
            )
        scratch = tempfile.TemporaryDirectory(prefix="pliant-")
        place = Path(out) if out is not None else Path(scratch.name) / self.name
        narrowed = {
            "methods": None if methods is None else list(methods),
            "devices": None if devices is None else list(devices),
            "alphas": None if alphas is None else list(alphas),
            "seeds": seeds,
            "first_seed": first_seed,
            "requests": requests,
        }
        parts = [one.parts() for one in named(policies)]
        how = {
            "out": place,
            "threads": threads,
            "draw": out is not None,
            "plans": None if plans is None else Path(plans),
            "features": _by_item(features or {}),
        }
        ran = self._native.run(narrowed, parts, how)
        failures: dict[str, PliantError] = dict(ran["failures"])
        first = next(iter(failures.values()), None)
        if "outcomes" not in ran:
            assert first is not None
            raise first
        columns = _with_reasons(ran["outcomes"], ran["reasons"])
        results = Results._of_run(place, scratch, columns, failures)
        results._experiment = ran["experiment"]
        if first is not None and on_error == "raise":
            first.results = results
            raise first
        return results

    def explain(
        self,
        request: int,
        *,
        method: str | None = None,
        device: str | None = None,
        alpha: float | None = None,
        seed: int | None = None,
    ) -> Explanation:
        """Explain the decision for one request, as `Results.explain` does."""
        return Explanation(self._native.explain(request, method, device, alpha, seed))

    def __repr__(self) -> str:
        """Its name and methods."""
        return f"Experiment({self.name!r}: {', '.join(self.methods)})"


def load(path: str | PathLike[str]) -> Experiment:
    """Read and check the experiment file at ``path``.

    The paths that it names are from the folder that this program runs in.

    Raises:
        PliantError: If the file cannot be read, or has an unknown, missing or ill-typed key.

    """
    return Experiment(_native.Experiment.load(Path(path)))


def save(spec: Mapping[str, Any], path: str | PathLike[str]) -> Experiment:
    """Write what ``spec`` states, as `Experiment.spec` has it, as the experiment file ``path``.

    Returns:
        The experiment, read from there and checked.

    Raises:
        PliantError: If it has an unknown, missing or ill-typed key. The file is written all the
            same.

    """
    Path(path).write_text(_native.toml_of(json.dumps(_stated(spec))), encoding="utf-8")
    return load(path)


def _stated(value: Any) -> Any:
    """Without what is None: a file does not state it."""
    if isinstance(value, dict):
        return {key: _stated(of) for key, of in value.items() if of is not None}
    return [_stated(of) for of in value] if isinstance(value, list) else value


def _by_item(features: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    """The features, whose keys are checked."""
    for key in features:
        pair = isinstance(key, tuple) and len(key) == 2
        if not pair or not all(isinstance(part, str) for part in key):
            raise PliantError(
                "is no item",
                file="argument features",
                place="key",
                found=repr(key),
                allowed='names of a dataset and of an item, such as ("piqa", "12")',
            )
    return dict(features)


def _with_reasons(
    columns: dict[str, Any],
    reasons: list[tuple[str, str, float, int, dict[int, str]]],
) -> dict[str, Any]:
    """The columns, and one of the policies' reasons if they gave any."""
    if not reasons:
        return columns
    by_run = {(method, device, alpha, seed): of for method, device, alpha, seed, of in reasons}
    methods, devices = ((columns[name][0], columns[name][1]) for name in ("method", "device"))
    rows = zip(
        methods[0], devices[0], columns["alpha"], columns["seed"], columns["id"], strict=True
    )
    said = []
    for method, device, alpha, seed, request in rows:
        run = by_run.get((methods[1][method], devices[1][device], float(alpha), int(seed)), {})
        said.append(run.get(int(request), ""))
    return {**columns, "reason": said}
