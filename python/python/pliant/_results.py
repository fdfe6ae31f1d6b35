"""What a run shows: measures, differences, outcomes, figures."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _native
from ._errors import PliantError
from ._explanation import Explanation
from ._table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike


class Figure:
    """A figure of a results folder; a notebook shows it.

    It is drawn by the command line's own renderer, with a font that the package carries.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """Of the results folder ``folder``."""
        self.name = name
        self._folder = folder

    @property
    def svg(self) -> str:
        """As SVG, text as text."""
        return self._drawn("svg").decode()

    @property
    def png(self) -> bytes:
        """As PNG, 200 pixels to the inch."""
        return self._drawn("png")

    def save(self, path: str | PathLike[str]) -> Path:
        """Write it to ``path``, whose ending is ``.svg``, ``.png`` or ``.pdf``."""
        path = Path(path)
        form = path.suffix.removeprefix(".")
        if form not in ("svg", "png", "pdf"):
            raise PliantError(
                "no form of a figure", file=str(path), found=path.suffix, allowed=".svg, .png, .pdf"
            )
        path.write_bytes(self._drawn(form))
        return path

    def _drawn(self, form: str) -> bytes:
        file = self._folder / f"{self.name}.{form}"
        if not file.exists():
            _native.redraw(self._folder, form)
        return file.read_bytes()

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        """Its name."""
        return f"Figure({self.name!r})"


class Results:
    """A results folder, and the outcomes behind it where this program ran it.

    Attributes:
        path: The folder. One of a run without ``out`` is removed with this object.
        failures: By name of a policy, the error that ended it.

    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Open the results folder at ``path``."""
        self.path = Path(path)
        self.failures: dict[str, PliantError] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._outcomes: Table | None = None
        self._drawing: tempfile.TemporaryDirectory[str] | None = None
        self._experiment: _native.Experiment | None = None

    @classmethod
    def _of_run(
        cls,
        path: Path,
        scratch: tempfile.TemporaryDirectory[str],
        columns: Mapping[str, Any],
        failures: dict[str, PliantError],
    ) -> Results:
        results = cls(path)
        results._scratch, results._outcomes = scratch, Table(columns)
        results.failures = failures
        return results

    @property
    def metrics(self) -> Table:
        """A row per cell, device by skew by method: measures with their intervals."""
        return self._table("metrics.csv")

    @property
    def seeds(self) -> Table:
        """A row per replication."""
        packed = "seeds.csv.gz"
        return self._table(packed if (self.path / packed).exists() else "seeds.csv")

    @property
    def paired(self) -> Table:
        """Differences between methods on the same requests, with their intervals."""
        return self._table("paired.csv")

    @property
    def outcomes(self) -> Table:
        """A row per request that was answered, of every run.

        Times in ms. ``reward`` is how right the answer was, 0 if it was late: its mean is
        accuracy@SLO where every answer is judged. What is not known is NaN.
        """
        if self._outcomes is None:
            raise PliantError(
                "were not gathered",
                file=str(self.path),
                place="outcomes",
                allowed="results of `Experiment.run`; a folder keeps some under outcomes/",
            )
        return self._outcomes

    def explain(
        self,
        request: int,
        *,
        method: str | None = None,
        device: str | None = None,
        alpha: float | None = None,
        seed: int | None = None,
    ) -> Explanation:
        """Explain the decision for one request: what was seen, chosen, possible, and why.

        Args:
            request: Its number in the trace.
            method: Name of a method or of a policy; None: the first.
            device: Name of the device's folder; None: the first.
            alpha: Skew of the trace; None: the first.
            seed: Seed of the replication; None: the first.

        Raises:
            PliantError: If there is no such decision, or this program did not run it.

        """
        if self._experiment is None:
            raise PliantError(
                "was not run by this program",
                file=str(self.path),
                place="explain",
                allowed="results of `Experiment.run`; `pliant policy explain` explains folders",
            )
        return Explanation(self._experiment.explain(request, method, device, alpha, seed))

    def figures(self) -> list[str]:
        """Names of its figures."""
        folder = self._drawn()
        return sorted(file.stem for file in folder.glob("*.svg"))

    def figure(self, name: str = "accuracy-at-slo") -> Figure:
        """The figure of this name.

        Raises:
            PliantError: If there is none.

        """
        known = self.figures()
        if name not in known:
            raise PliantError(
                "has no such figure",
                file=str(self.path),
                found=name,
                allowed=", ".join(known),
            )
        return Figure(name, self._drawn())

    def _drawn(self) -> Path:
        """A copy of the folder that holds its figures: a folder that is read stays as it is."""
        if self._drawing is None:
            self._drawing = tempfile.TemporaryDirectory(prefix="pliant-")
            copy = Path(self._drawing.name) / self.path.name
            shutil.copytree(self.path, copy, ignore=shutil.ignore_patterns("outcomes"))
            _native.redraw(copy, "svg")
        return Path(self._drawing.name) / self.path.name

    def _table(self, name: str) -> Table:
        file = self.path / name
        if not file.exists():
            raise PliantError("is not there", file=str(file), allowed="a results folder")
        return Table.read_csv(file)

    def __repr__(self) -> str:
        """Where it is."""
        return f"Results({str(self.path)!r})"
