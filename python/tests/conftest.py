"""A small experiment whose numbers are worked out by hand: that of docs/own-measurements.md."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pliant
import pytest

ROOT = Path(__file__).resolve().parents[2]

REQUESTS: dict[str, list[Any]] = {
    "id": [0, 1, 2, 3],
    "arrival_ms": [0.0, 5000.0, 10000.0, 15000.0],
    "app": ["helpdesk"] * 4,
    "dataset": ["support"] * 4,
    "item": ["2", "faq-6", "4", "2"],
    "prompt_tokens": [100, 100, 200, 100],
    "output_tokens": [11] * 4,
    "ttft_ratio": [1, 0.6, 0.6, 1],
    "tpot_ratio": [1, 0.6, 0.6, 1],
}

LEVELS: dict[str, list[Any]] = {
    "level_percent": [50, 100],
    "ttft_ms": [5.0, 5.0],
    "ttft_ms_per_token": [1.0, 2.0],
    "tpot_ms": [20.0, 40.0],
    "switch_ms": [2.0, 2.0],
}

GRADES = {
    ("1", 50): 0.5,
    ("1", 100): 0.9,
    ("5", 50): 0.6,
    ("5", 100): 1.0,
    ("2", 50): 0.25,
    ("2", 100): 1.0,
    ("faq-6", 50): 1.0,
    ("faq-6", 100): 1.0,
    ("4", 50): 0.0,
    ("4", 100): 0.5,
}

METHODS = [
    {"name": "elastic-profile", "family": "width", "policy": {"kind": "elastic-profile"}},
    {"name": "full", "family": "width", "policy": {"kind": "full"}},
]


def module_at(path: str) -> ModuleType:
    """The module in a file of the repository."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def answers_frame() -> dict[str, list[Any]]:
    """The grades as a frame."""
    return {
        "dataset": ["support"] * len(GRADES),
        "item": [item for item, _ in GRADES],
        "level": [level for _, level in GRADES],
        "ratio": [100] * len(GRADES),
        "grade": list(GRADES.values()),
    }


def device() -> pliant.Device:
    return pliant.Device.of(
        "phone", {"width": LEVELS}, base_model="my-llm", source="my lab notebook, page 12"
    )


def tree(folder: Path) -> dict[str, str]:
    """Hashes of all files below ``folder``, by path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture
def own() -> pliant.Experiment:
    """Four requests, two levels, two methods."""
    answers = pliant.Answers.of("my-llm", {"width": answers_frame()})
    return pliant.experiment(pliant.Trace.of(REQUESTS), device(), answers, METHODS)


@pytest.fixture
def choosers(monkeypatch: pytest.MonkeyPatch) -> pliant.Experiment:
    """The repository's comparison of choosers over elastilm's plans."""
    monkeypatch.chdir(ROOT)
    return pliant.load("experiments/choosers.toml")
