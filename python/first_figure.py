"""From nothing to a figure: seconds that the ten lines of docs/python.md take on a fresh machine.

    python python/first_figure.py [WHEEL]

makes an empty virtual environment, installs the package from its sources, or from the wheel that
is named, and runs the ten lines there, from the repository's folder.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def ten_lines() -> str:
    """The first program of docs/python.md that makes a figure, which it saves."""
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    program = page.split("```python\n")[1].split("```")[0]
    return program.rstrip() + '.save("target/figure.svg")\n'


def timed(what: str, command: list[str | Path]) -> None:
    """Run ``command`` and say how long it took."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    sys.stdout.write(f"{what:<32} {time.perf_counter() - start:7.1f} s\n")


def main(package: str) -> None:
    """Say how long each step takes."""
    (ROOT / "target").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin/python"
        venv.create(folder, with_pip=True)
        install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", package, "pandas"]
        timed(f"pip install {Path(package).suffix or package} pandas", install)
        timed("the ten lines", [python, "-c", ten_lines()])
    size = (ROOT / "target/figure.svg").stat().st_size
    sys.stdout.write(f"target/figure.svg, {size} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "./python")
