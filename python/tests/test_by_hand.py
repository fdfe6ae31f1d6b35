"""Numbers that docs/own-measurements.md works out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pliant
import pytest
from pliant import Menu, Request, Service


def smallest(request: Request, service: Service, menu: Menu) -> int:
    """Level 50 % for everything."""
    return int(menu.level.argmin())


def test_the_methods_come_to_the_numbers_of_the_page(own: pliant.Experiment) -> None:
    # Full: grades 1, 1, 0.5, 1; the two requests of 0.6 are late. Both levels: all four in time,
    # of grades 0.25 or 1 …: the page has a mean of 0.5625.
    metrics = own.run().metrics
    assert list(metrics["method"]) == ["elastic-profile", "full"]
    np.testing.assert_allclose(metrics["accuracy"], [0.5625, 0.875])
    np.testing.assert_allclose(metrics["attainment"], [1.0, 0.5])


def test_a_function_is_a_policy(own: pliant.Experiment) -> None:
    # Level 50 %: TTFT 5 + 100 = 105 ms, for 200 tokens 205 ms; grades 0.25, 1, 0, 0.25; all of
    # them in time. The first level is there for free, and none other is ever loaded.
    results = own.run([smallest])
    metrics = results.metrics.where(method="smallest")
    np.testing.assert_allclose(metrics["accuracy_at_slo"], [0.375])
    outcomes = results.outcomes.where(method="smallest")
    assert outcomes["ttft_ms"].tolist() == [105, 105, 205, 105]
    assert outcomes["tpot_ms"].tolist() == [20] * 4
    assert outcomes["correct"].tolist() == [0.25, 1, 0, 0.25]
    assert outcomes["slo_met"].tolist() == [1] * 4
    assert outcomes["item"].tolist() == ["2", "faq-6", "4", "2"]
    assert outcomes["app"].tolist() == ["helpdesk"] * 4


def test_what_a_policy_is_shown(own: pliant.Experiment) -> None:
    seen: list[tuple[Any, ...]] = []

    def look(request: Request, service: Service, menu: Menu) -> int:
        seen.append(
            (
                request.id,
                request.prompt_tokens,
                request.ttft_bound_ms,
                request.tpot_bound_ms,
                request.objective,
                service.now_ms,
                service.waited_ms,
                service.resident,
                service.queued,
                menu.ttft_ms.tolist(),
                menu.tpot_ms.tolist(),
                menu.total_ms.tolist(),
                menu.feasible.tolist(),
                menu.expected_accuracy.tolist(),
                menu.probability,
                menu.energy_mj,
            )
        )
        return 0

    own.run([look], methods=[])
    # The base model takes 5 + 2 · 100 = 205 ms and 40 ms a token; ten tokens after the first.
    first = (0, 100, 205.0, 40.0, (1.0, 1.0), 0.0, 0.0, None, 0)
    menu = ([105.0, 205.0], [20.0, 40.0], [305.0, 605.0], [True, True], [0.55, 0.95])
    assert seen[0] == (*first, *menu, None, None)
    # With level 50 % in memory the other costs a switch of 2 ms; 0.6 of 205 and 40 ms.
    second = (1, 100, 123.0, 24.0, (0.6, 0.6), 5000.0, 0.0, 0.5, 0)
    menu = ([105.0, 207.0], [20.0, 40.0], [305.0, 607.0], [True, False], [0.55, 0.95])
    assert seen[1] == (*second, *menu, None, None)


def test_arrays_are_not_to_be_written_to(own: pliant.Experiment) -> None:
    class Scribbler:
        name = "scribbler"

        def plan(self, request: Request, service: Service, menu: Menu) -> int:
            menu.ttft_ms[0] = 0.0
            return 0

    with pytest.raises(pliant.PliantError, match="read-only"):
        own.run([Scribbler()], methods=[])
