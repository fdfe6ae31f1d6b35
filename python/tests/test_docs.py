"""The first program of docs/python.md is what `first_figure.py` times, and runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, module_at


def test_the_ten_lines_draw_a_figure(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    lines = module_at("python/first_figure.py").ten_lines()
    code = [line for line in lines.splitlines() if line.strip()]
    # A docstring is not counted.
    assert len(code) <= 10
    small = lines.replace("seeds=5", "seeds=2, requests=40")
    small = small.replace("target/figure.svg", str(tmp_path / "figure.svg"))
    assert small.count("requests=40") == small.count("figure.svg") == 1
    ran = subprocess.run(
        [sys.executable, "-c", small], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert "gain_lo" in ran.stdout
    assert (tmp_path / "figure.svg").read_text().startswith("<svg")
