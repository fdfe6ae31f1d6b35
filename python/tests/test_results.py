"""Tables and figures of results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pliant
import pytest
from conftest import ROOT


def test_labels_are_columns_of_codes_and_names(own: pliant.Experiment) -> None:
    outcomes = own.run().outcomes
    assert outcomes.rows == 8
    assert outcomes.names("method") == ["elastic-profile", "full"]
    assert outcomes.codes("method").tolist() == [0] * 4 + [1] * 4
    assert outcomes["device"].tolist() == ["phone"] * 8
    assert outcomes.where(method="full", id=3)["reward"].tolist() == [1.0]
    with pytest.raises(pliant.PliantError, match="no column of labels"):
        outcomes.codes("ttft_ms")
    assert "8 rows" in repr(outcomes)
    assert "<th>method</th>" in outcomes._repr_html_()


def test_columns_are_handed_out_without_copies(own: pliant.Experiment) -> None:
    outcomes = own.run().outcomes
    assert outcomes["ttft_ms"] is outcomes["ttft_ms"]
    assert np.shares_memory(outcomes["ttft_ms"], outcomes["ttft_ms"])


def test_the_mean_reward_is_accuracy_at_slo(own: pliant.Experiment) -> None:
    results = own.run()
    metrics = results.metrics
    for method, measured in zip(metrics["method"], metrics["accuracy_at_slo"], strict=True):
        rewards = results.outcomes.where(method=method)["reward"]
        assert rewards.mean() == pytest.approx(measured)


def test_tables_are_data_frames(own: pliant.Experiment) -> None:
    pandas = pytest.importorskip("pandas")
    frame = own.run().outcomes.to_pandas()
    assert isinstance(frame["method"].dtype, pandas.CategoricalDtype)
    assert frame.groupby("method", observed=True)["reward"].mean().round(4).tolist() == [
        0.5625,
        0.5,
    ]


def test_a_table_is_a_stream_of_arrow(own: pliant.Experiment) -> None:
    outcomes = own.run().outcomes
    try:
        import pyarrow
    except ImportError:
        with pytest.raises(pliant.PliantError, match="package pyarrow: is not installed"):
            outcomes.__arrow_c_stream__()
    else:
        read = pyarrow.table(outcomes)
        assert read.column_names == outcomes.columns
        assert read["reward"].to_pylist() == outcomes["reward"].tolist()
        assert read["method"].to_pylist() == outcomes["method"].tolist()


def test_what_is_not_installed_is_named(own: pliant.Experiment) -> None:
    try:
        import polars
    except ImportError:
        with pytest.raises(pliant.PliantError, match="package polars: is not installed"):
            own.run().metrics.to_polars()
    else:
        assert isinstance(own.run().metrics.to_polars(), polars.DataFrame)


def test_figures_are_those_of_the_command_line(own: pliant.Experiment, tmp_path: Path) -> None:
    results = own.run(out=tmp_path / "out")
    figure = results.figure("accuracy-at-slo")
    assert figure.svg == (tmp_path / "out/accuracy-at-slo.svg").read_text()
    assert figure._repr_svg_() == figure.svg
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.save(tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(pliant.PliantError, match="no form of a figure"):
        figure.save(tmp_path / "figure.gif")
    with pytest.raises(pliant.PliantError, match="has no such figure; found none"):
        results.figure("none")


def test_a_folder_of_results_is_read_and_stays_as_it_is() -> None:
    folder = ROOT / "results/choosers"
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    results = pliant.Results(folder)
    assert "elastilm" in results.metrics["method"]
    assert results.figure().svg.startswith("<svg")
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    with pytest.raises(pliant.PliantError, match="outcomes: were not gathered"):
        _ = results.outcomes
