"""The workflow for Slurm, here on this machine: shards are merged to the bytes of one machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, tree
from pliant import _native


def program() -> str | None:
    """The command line's program: the one on the path, or the one that was built last."""
    names = ("release", "quick", "debug")
    built = [ROOT / "target" / name / "pliant" for name in names]
    there = sorted(filter(Path.exists, built), key=lambda file: file.stat().st_mtime)
    on_path = shutil.which("pliant")
    return str(there[-1]) if there else on_path


@pytest.mark.skipif(not importlib.util.find_spec("snakemake"), reason="needs the package snakemake")
@pytest.mark.skipif(program() is None, reason="needs the program pliant: cargo build")
def test_the_workflow_merges_to_the_bytes_of_one_machine(tmp_path: Path) -> None:
    pliant = program()
    assert pliant is not None
    _native.demo(tmp_path)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all"]
    command += ["--snakefile", str(ROOT / "examples/snakemake/Snakefile")]
    command += ["--config", f"pliant={pliant}", "shards=3", "out=merged"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    one = [pliant, "run", "experiments/demo.toml", "--out", "one"]
    subprocess.run(one, cwd=tmp_path, check=True, capture_output=True)
    assert tree(tmp_path / "merged") == tree(tmp_path / "one")
