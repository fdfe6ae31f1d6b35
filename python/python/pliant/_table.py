"""Columns by name: NumPy arrays, and data frames where they are wanted."""

from __future__ import annotations

import csv
import gzip
import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._errors import PliantError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from numpy.typing import NDArray

_SHOWN = 10


class Table(Mapping[str, "NDArray[Any]"]):
    """Columns of one length, by name.

    A column of labels is kept as codes and names: ``table[name]`` is the labels as an array of
    text, ``table.codes(name)`` the codes, int32[rows], and ``table.names(name)`` what they stand
    for. Columns of numbers are what the replay wrote, not copies.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        """Take over ``columns``: arrays, or pairs of codes and names."""
        self._columns = dict(columns)

    @classmethod
    def read_csv(cls, path: Path) -> Table:
        """Read a file of the results folder, packed or not; what is empty is NaN."""
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        header, body = rows[0], rows[1:]
        cells = ([row[place] for row in body] for place in range(len(header)))
        return cls({name: _column(column) for name, column in zip(header, cells, strict=True)})

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The column of this name."""
        column = self._columns[name]
        if isinstance(column, tuple):
            codes, names = column
            return np.asarray(names, dtype=object)[codes] if len(names) else np.empty(0, object)
        if isinstance(column, list):
            return np.asarray(column, dtype=object)
        array: NDArray[Any] = column
        return array

    def __iter__(self) -> Iterator[str]:
        """Names, in order."""
        return iter(self._columns)

    def __len__(self) -> int:
        """How many columns; `rows` says how many rows."""
        return len(self._columns)

    @property
    def rows(self) -> int:
        """How many rows."""
        for column in self._columns.values():
            return len(column[0]) if isinstance(column, tuple) else len(column)
        return 0

    @property
    def columns(self) -> list[str]:
        """Names, in order."""
        return list(self._columns)

    def codes(self, name: str) -> NDArray[np.int32]:
        """The codes of a column of labels, int32[rows]."""
        codes: NDArray[np.int32] = self._labels(name)[0]
        return codes

    def names(self, name: str) -> list[str]:
        """What the codes of a column of labels stand for."""
        return list(self._labels(name)[1])

    def _labels(self, name: str) -> tuple[Any, Any]:
        column = self._columns[name]
        if not isinstance(column, tuple):
            labels = [known for known, of in self._columns.items() if isinstance(of, tuple)]
            raise PliantError(
                "no column of labels",
                file="table",
                place=f"column {name}",
                allowed=", ".join(labels),
            )
        return column

    def where(self, **labels: object) -> Table:
        """The rows whose columns have these values, such as ``where(method="mine", seed=0)``."""
        mask = np.ones(self.rows, dtype=bool)
        for name, value in labels.items():
            mask &= self[name] == value
        kept: dict[str, Any] = {}
        for name, column in self._columns.items():
            if isinstance(column, tuple):
                kept[name] = (column[0][mask], column[1])
            else:
                kept[name] = self[name][mask]
        return Table(kept)

    def to_pandas(self) -> pd.DataFrame:
        """As a data frame of pandas, labels as categories."""
        try:
            import pandas as pd
        except ImportError as error:
            raise _not_installed("pandas") from error

        def column(of: Any) -> Any:
            if isinstance(of, tuple):
                return pd.Categorical.from_codes(of[0], categories=pd.Index(of[1]))
            return of

        return pd.DataFrame({name: column(of) for name, of in self._columns.items()}, copy=False)

    def to_polars(self) -> pl.DataFrame:
        """As a data frame of polars."""
        try:
            import polars as pl
        except ImportError as error:
            raise _not_installed("polars") from error
        return pl.DataFrame({name: self[name] for name in self})

    def to_arrow(self) -> pa.Table:
        """As a table of pyarrow, labels as dictionaries."""
        try:
            import pyarrow as pa
        except ImportError as error:
            raise _not_installed("pyarrow") from error

        def column(name: str) -> Any:
            of = self._columns[name]
            if isinstance(of, tuple):
                return pa.DictionaryArray.from_arrays(pa.array(of[0]), pa.array(of[1]))
            return pa.array(self[name])

        return pa.table({name: column(name) for name in self})

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """As a stream of Arrow, for libraries that read one, where pyarrow is installed."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """Its size and the names of its columns."""
        return f"Table({self.rows} rows: {', '.join(self)})"

    def _repr_html_(self) -> str:
        """The first rows."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self)
        first = {name: self[name][:_SHOWN] for name in self}
        lines = []
        for row in range(min(self.rows, _SHOWN)):
            cells = (f"<td>{html.escape(str(first[name][row]))}</td>" for name in self)
            lines.append(f"<tr>{''.join(cells)}</tr>")
        rest = f"<p>{self.rows} rows</p>" if self.rows > _SHOWN else ""
        return f"<table><tr>{head}</tr>{''.join(lines)}</table>{rest}"


def _column(cells: list[str]) -> Any:
    """Numbers if all of them are, what is empty being NaN; else labels."""
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        names = list(dict.fromkeys(cells))
        places = {name: place for place, name in enumerate(names)}
        return np.array([places[cell] for cell in cells], dtype=np.int32), names


def _not_installed(package: str) -> PliantError:
    return PliantError(
        "is not installed",
        file=f"package {package}",
        allowed=f"`pip install {package}`, or columns as they are: table[name]",
    )
