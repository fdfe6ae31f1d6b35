"""A shard, worked off on a machine that has the package and nothing else of its experiment."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from . import _native
from ._errors import PliantError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Files = dict[str, tuple[bytes, int]]
"""Bytes and mode of files, by their path from the folder that the experiment runs in."""

SHARDS = "shards"
STATED = "plan.toml"


def program() -> dict[str, str]:
    """What makes two programs the same: the version, and the bytes of the native module."""
    native = Path(_native.__file__).read_bytes()
    return {"version": version("pliant"), "sha256": hashlib.sha256(native).hexdigest()}


def read(paths: Iterable[Path]) -> Files:
    """Files that can travel: those below this folder. Others must be on every machine."""
    below = (path for path in paths if not path.is_absolute() and ".." not in path.parts)
    return {str(path): (path.read_bytes(), path.stat().st_mode & 0o777) for path in below}


def write(files: Mapping[str, tuple[bytes, int]], folder: Path) -> None:
    """Write ``files`` below ``folder``; none is ever seen half written."""
    for name, (data, mode) in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".pliant-{os.getpid()}-{place.name}.tmp")
        draft.write_bytes(data)
        draft.chmod(mode)
        draft.replace(place)


def work(
    experiment: str,
    inputs: Files,
    stated: bytes,
    commit: tuple[str, bool] | None,
    shard: str,
) -> Files:
    """Work off ``shard`` of the experiment file ``experiment`` in a folder made for it.

    Args:
        experiment: Path of the experiment file, one of ``inputs`` or on this machine.
        inputs: What the experiment reads.
        stated: The file ``plan.toml`` of the shard's plan.
        commit: The commit that the plan is over.
        shard: Such as ``2/8``.

    Returns:
        The files of its runs, by their path in a folder of shards.

    Raises:
        PliantError: If here it is a shard of another plan, an input is missing, or a run fails.

    """
    with _scratch() as here:
        write(inputs, here)
        write({f"{SHARDS}/{STATED}": (stated, 0o644)}, here)
        read_here = _native.Experiment.load(Path(experiment))
        _native.run_shard(read_here, shard, Path(SHARDS), commit)
        folder = here / SHARDS
        runs = (path for path in folder.rglob("*") if path.is_file() and path.name != STATED)
        return {
            str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o777)
            for path in runs
        }


def check_program(of_driver: Mapping[str, str], node: str) -> None:
    """Refuse to work for a driver whose program is another: its results may be, too.

    Raises:
        PliantError: If version or native module differ.

    """
    here = program()
    if here != of_driver:
        raise PliantError(
            "is another program than the driver's",
            file=f"node {node}",
            place="package pliant",
            found=_in_words(here),
            allowed=f"{_in_words(of_driver)}: the same wheel on every node",
        )


def _in_words(of: Mapping[str, str]) -> str:
    return f"{of['version']} with native module {of['sha256'][:12]}"


@contextmanager
def _scratch() -> Iterator[Path]:
    """Be in an empty folder that is gone afterwards."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="pliant-shard-") as scratch:
        os.chdir(scratch)
        try:
            yield Path(scratch)
        finally:
            os.chdir(before)
