"""Every public name says what it is, and pdoc makes pages of them."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pliant
import pytest

MODULES = [pliant, pliant.bandit]


def described(module: ModuleType) -> list[tuple[str, Any]]:
    """The public names of a module, with those of its classes."""
    names = getattr(module, "__all__", None) or [
        name
        for name, of in vars(module).items()
        if inspect.isfunction(of) and of.__module__ == module.__name__
    ]
    found: list[tuple[str, Any]] = []
    for name in names:
        of = getattr(module, name)
        found.append((name, of))
        if inspect.isclass(of):
            members = [member for member in vars(of) if not member.startswith("_")]
            found.extend((f"{name}.{member}", getattr(of, member)) for member in members)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_says_what_it_is(module: ModuleType) -> None:
    own_attributes = ("Named.",)
    bare = [
        name
        for name, of in described(module)
        if not name.startswith(own_attributes) and not inspect.getdoc(of)
    ]
    assert bare == []


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_reference_has_every_public_name(tmp_path: Path) -> None:
    pdoc = pytest.importorskip("pdoc")
    pytest.importorskip("gymnasium")
    pdoc.render.configure(docformat="google")
    pdoc.pdoc("pliant", "pliant.gym", output_directory=tmp_path)
    page = (tmp_path / "pliant.html").read_text(encoding="utf-8")
    for name in pliant.__all__:
        assert f'id="{name}"' in page or name == "bandit", name
    assert 'id="Menu.expected_accuracy"' in page
    assert "ElasticServiceEnv.reset" in (tmp_path / "pliant/gym.html").read_text(encoding="utf-8")
    assert (tmp_path / "pliant/bandit.html").exists()
