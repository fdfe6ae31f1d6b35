"""What the package shows without a clone of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_demo_runs_in_an_empty_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pliant", "demo"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "elastilm" in ran.stdout
    assert "% right in time" in ran.stdout
    assert (tmp_path / "pliant-demo/results/demo/accuracy-at-slo.svg").exists()
