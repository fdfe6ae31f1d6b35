"""The notebooks run from their first cell to their last, with small settings.

``NOTEBOOKS=overwrite`` runs them as they are read, and keeps what they show.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "python/notebooks").glob("*.ipynb"))
BYTES_MAX = 600_000
PICTURE_BYTES_MAX = 60_000
PICTURES = ("image/svg+xml", "image/png")


def executed(path: Path) -> Any:
    """The notebook at ``path``, with what its cells showed."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    for package in ("ipykernel", "matplotlib", "pandas"):
        pytest.importorskip(package)
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, resources=where, coalesce_streams=True).execute()
    return notebook


def pictures(notebook: Any) -> list[str]:
    """What its cells drew; one that is drawn in two forms is kept in one."""
    drawn: list[str] = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            forms = [form for form in PICTURES if form in data]
            for other in forms[1:]:
                del data[other]
            drawn.extend(data[form] for form in forms[:1])
    return drawn


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overwrites = os.environ.get("NOTEBOOKS") == "overwrite"
    if not overwrites:
        monkeypatch.setenv("PLIANT_SMALL", "1")
    notebook = executed(path)
    assert pictures(notebook)
    if overwrites:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        pytest.importorskip("nbformat").write(notebook, path)


def test_notebooks_are_kept_with_what_they_show() -> None:
    nbformat = pytest.importorskip("nbformat")
    assert len(NOTEBOOKS) == 3
    assert sum(path.stat().st_size for path in NOTEBOOKS) <= BYTES_MAX
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        assert all(len(picture) <= PICTURE_BYTES_MAX for picture in pictures(notebook)), path
        assert pictures(notebook), path
        text = path.read_text(encoding="utf-8")
        private = [f"/{folder}/" for folder in ("home", "root", "tmp")]
        assert not [said for said in (*private, "Traceback") if said in text], path
