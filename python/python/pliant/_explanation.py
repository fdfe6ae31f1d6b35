"""One decision: what its policy saw, what it chose, and what else there was."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ._table import Table

_COLUMNS = ("ttft_ms", "tpot_ms", "e2e_ms", "feasible", "expected_accuracy", "in_time")
"""What a candidate has beside its plan and whether it is right."""


class Explanation:
    """What `pliant policy explain` tells of one decision.

    Attributes:
        data: All of it, as ``pliant policy explain --json`` prints it.

    """

    def __init__(self, text: str) -> None:
        """Of JSON."""
        self.data: dict[str, Any] = json.loads(text)

    @property
    def reason(self) -> str | None:
        """Why, in the policy's words; None where it gave none."""
        reason: str | None = self.data.get("reason")
        return reason

    @property
    def candidates(self) -> Table:
        """A row per plan, as forecast and as it would have come out.

        Columns: ``level`` and ``prompt_ratio`` as shares, ``ttft_ms``, ``tpot_ms``, ``e2e_ms``,
        ``feasible``, ``expected_accuracy``, ``in_time``, ``correct`` and ``chosen``. What is not
        known is NaN.
        """
        rows, choice = self.data["candidates"], self.data["choice"]
        columns = {
            **{name: [row[name] for row in rows] for name in ("level", "prompt_ratio")},
            **{name: [row[name] for row in rows] for name in _COLUMNS},
            "correct": [row["correct"] for row in rows],
            "chosen": [all(row[part] == choice[part] for part in choice) for row in rows],
        }
        return Table({name: np.array(column, dtype=float) for name, column in columns.items()})

    def __str__(self) -> str:
        """In a few lines."""
        data, seen, happened = self.data, self.data["seen"], self.data["happened"]
        rows = data["candidates"]
        lines = [
            f"{data['method']} on {data['device']}, alpha {data['alpha']}, seed {data['seed']}",
            f"request {seen['id']} of {seen['app']}: {seen['prompt_tokens']} prompt tokens",
            f"{sum(row['feasible'] for row in rows)} of {len(rows)} plans were forecast in time",
            f"chosen: {_shown(data['choice'])}",
        ]
        if self.reason is not None:
            lines.append(f"because: {self.reason}")
        met = "objective met" if happened["slo_met"] else "objective missed"
        right = {None: "not judged", 0: "wrong", 1: "right"}
        answer = right.get(happened["correct"], f"of grade {happened['correct']}")
        ttft = f"TTFT {happened['ttft_ms']:.1f} ms"
        lines.append(f"happened: {ttft}, {met}, answer {answer}")
        good = sum(bool(row["in_time"] and row["correct"] == 1) for row in rows)
        lines.append(f"in hindsight: {good} of {len(rows)} plans answer rightly in time")
        return "\n".join(lines)

    __repr__ = __str__


def _shown(plan: dict[str, Any]) -> str:
    return f"level {plan['level']:.0%}, {plan['prompt_ratio']:.0%} of the prompt"
