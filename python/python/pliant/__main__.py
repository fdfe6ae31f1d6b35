"""``python -m pliant demo``: a whole comparison in seconds, from the package alone."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from . import _native
from ._experiment import load


def main() -> None:
    """Lay the demo out, run it, say what it shows and where its figure is."""
    parser = argparse.ArgumentParser(prog="python -m pliant", description=__doc__)
    parser.add_argument("command", choices=["demo"], help="lay out a small project and run it")
    parser.add_argument("--folder", type=Path, default=Path("pliant-demo"), help="where")
    folder: Path = parser.parse_args().folder
    file = _native.demo(folder)
    os.chdir(folder)
    experiment = load(file)
    place = Path("results") / experiment.name
    metrics = experiment.run(out=place).metrics
    print(experiment.description)
    columns = zip(metrics["device"], metrics["method"], metrics["accuracy_at_slo"], strict=True)
    for device, method, share in columns:
        print(f"{device:<22} {method:<24} {100 * share:5.1f} % right in time")
    print(f"figures and numbers: {folder / place}")


if __name__ == "__main__":
    main()
