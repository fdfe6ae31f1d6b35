"""Policies of every form, and what becomes of those that fail."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pliant
import pytest
from numpy.typing import NDArray
from pliant import Batch, Menu, Outcome, Request, Service

SMALL: dict[str, Any] = {
    "devices": ["epyc-zen5-2core"],
    "alphas": [0.0],
    "seeds": 2,
    "requests": 80,
}


def best(request: Request, service: Service, menu: Menu) -> int:
    """What elastic-profile does: the most accurate plan in time, of equals the quickest."""
    fits = np.flatnonzero(menu.feasible)
    if not len(fits):
        return menu.least_late()
    accuracy = np.nan_to_num(menu.expected_accuracy[fits], nan=-1.0)
    tied = fits[accuracy == accuracy.max()]
    return int(tied[menu.total_ms[tied].argmin()])


class Best:
    """The same for a batch."""

    name = "batch"
    like = "elastic-profile+lora"

    def plan_batch(self, batch: Batch) -> NDArray[np.int64]:
        accuracy = np.where(np.isnan(batch.expected_accuracy), -1.0, batch.expected_accuracy)
        accuracy = np.where(batch.feasible, accuracy, -2.0)
        top = accuracy == accuracy.max(axis=1, keepdims=True)
        chosen = np.where(top, batch.total_ms, np.inf).argmin(axis=1)
        late = ~batch.feasible.any(axis=1)
        indices: NDArray[np.int64] = np.where(late, batch.load.argmin(axis=1), chosen)
        return indices


def chosen(results: pliant.Results, method: str) -> NDArray[Any]:
    outcomes = results.outcomes.where(method=method)
    names = ("seed", "id", "level", "prompt_ratio", "ttft_ms", "e2e_ms", "reward")
    return np.stack([outcomes[name].astype(float) for name in names])


def test_the_rule_of_a_built_in_policy_comes_to_its_outcomes(choosers: pliant.Experiment) -> None:
    method = "elastic-profile+lora"
    policies: list[Any] = [
        pliant.policy(best, like=method),
        pliant.policy(best, like=method, name="asked-once", depends_on="resident"),
        Best(),
    ]
    results = choosers.run(policies, methods=[method], **SMALL)
    expected = chosen(results, method)
    assert expected.shape == (7, 160)
    for name in ("best", "asked-once", "batch"):
        np.testing.assert_array_equal(chosen(results, name), expected, err_msg=name)
    # The first method is compared with each other one.
    assert results.paired["method"].tolist() == ["best"] * 3
    assert set(results.paired["gain"]) == {0.0}


def test_elastilms_head_can_be_asked(choosers: pliant.Experiment) -> None:
    def surest(request: Request, service: Service, menu: Menu) -> int:
        probability = menu.probability
        assert probability is not None
        fits = np.flatnonzero(menu.feasible)
        if not len(fits):
            return menu.least_late()
        sure = np.nan_to_num(probability[fits], nan=-1.0)
        tied = fits[sure == sure.max()]
        return int(tied[menu.total_ms[tied].argmin()])

    results = choosers.run([surest], methods=["elastilm"], **SMALL)
    np.testing.assert_array_equal(chosen(results, "surest"), chosen(results, "elastilm"))


def test_one_that_is_asked_once_is_asked_less(own: pliant.Experiment) -> None:
    calls: list[int] = []

    def small(request: Request, service: Service, menu: Menu) -> int:
        calls.append(request.id)
        return 0

    own.run([small], methods=[], seeds=3)
    assert calls == [0, 1, 2, 3] * 3
    calls.clear()
    own.run([pliant.policy(small, depends_on="resident")], methods=[], seeds=3)
    # Requests 0 and 3 are of one kind, but nothing is resident when the first comes.
    assert calls == [0, 1, 2, 3]
    calls.clear()
    own.run([pliant.policy(small, depends_on="kind")], methods=[], seeds=3)
    assert calls == [0, 1, 2]


class Learner:
    """Counts what it is told; its level follows the last reward."""

    def __init__(self) -> None:
        self.rewards: list[float] = []
        self.seed = -1

    def start(self, seed: int) -> None:
        self.seed = seed

    def plan(self, request: Request, service: Service, menu: Menu) -> tuple[int, str]:
        assert len(self.rewards) == request.id
        return (1 if self.rewards and self.rewards[-1] < 0.5 else 0), f"after {self.rewards}"

    def observe(self, outcome: Outcome) -> None:
        assert outcome.id == len(self.rewards)
        assert outcome.reward == (outcome.correct if outcome.slo_met else 0)
        assert outcome.index in (0, 1)
        assert outcome.waited_ms == 0
        assert outcome.energy_mj is None
        assert outcome.e2e_ms == pytest.approx(outcome.ttft_ms + 10 * (outcome.tpot_ms or 0))
        self.rewards.append(outcome.reward)


@pytest.mark.parametrize("of", [Learner, Learner()])
def test_each_replication_has_an_object_of_its_own(own: pliant.Experiment, of: Any) -> None:
    results = own.run({"learner": of}, methods=[], seeds=2)
    levels = results.outcomes["level"].reshape(2, 4)
    # Item 2 at 50 % is worth 0.25; then the whole model is late for 0.6; then 50 % once more …
    assert levels.tolist() == [[0.5, 1.0, 1.0, 1.0]] * 2
    reasons = results.outcomes["reason"]
    assert reasons[:2].tolist() == ["after []", "after [0.25]"]
    if isinstance(of, Learner):
        assert of.rewards == []


class Together:
    """Plans for all replications at once, and keeps what it is told of each."""

    def __init__(self) -> None:
        self.told: dict[int, list[tuple[int, int, float]]] = {}

    def plan_batch(self, batch: Batch) -> NDArray[np.int64]:
        # All that was asked before has been told: requests of this trace do not wait.
        rounds = {len(self.told.get(int(one), [])) for one in batch.replication}
        assert len(rounds) == 1
        return np.full(len(batch), rounds.pop() % 2, dtype=np.int64)

    def observe(self, outcome: Outcome) -> None:
        told = self.told.setdefault(outcome.replication, [])
        told.append((outcome.id, outcome.index, outcome.reward))
        TOLD[outcome.replication] = told


TOLD: dict[int, list[tuple[int, int, float]]] = {}


def test_a_policy_that_is_asked_in_batches_is_told_of_each_replication(
    own: pliant.Experiment,
) -> None:
    results = own.run([Together], methods=[], seeds=3)
    rewards = results.outcomes["reward"].reshape(3, 4)
    assert sorted(TOLD) == [0, 1, 2]
    for replication, told in TOLD.items():
        assert [(of[0], of[1]) for of in told] == [(0, 0), (1, 1), (2, 0), (3, 1)]
        assert [of[2] for of in told] == rewards[replication].tolist()


def test_a_reason_is_explained(own: pliant.Experiment, tmp_path: Path) -> None:
    def mine(request: Request, service: Service, menu: Menu) -> tuple[int, str]:
        return 0, f"the first\nof {len(menu)}"

    results = own.run([mine], plans=tmp_path)
    explained = results.explain(2, method="mine")
    assert explained.reason == "the first\nof 2"
    assert "because: the first" in str(explained)
    # Item 4: wrong at 50 %, half right at 100 %, which is late.
    rows = explained.candidates
    assert rows["level"].tolist() == [0.5, 1]
    assert rows["correct"].tolist() == [0, 0.5]
    assert rows["chosen"].tolist() == [1, 0]
    assert explained.data["choice"] == {"level": 0.5, "prompt_ratio": 1.0}
    # Built-in policies give none; the file of plans keeps it for `pliant policy explain`.
    assert results.explain(2, method="full").reason is None
    assert results.explain(2, method="full").data == own.explain(2, method="full").data
    assert (tmp_path / "mine.csv").read_text().startswith("device,seed,trace,id,level_percent")
    spec = own.spec
    plans = {"kind": "recorded", "plans": str(tmp_path / "mine.csv")}
    spec["methods"] = [{"name": "again", "family": "width", "policy": plans}]
    again = pliant.save(spec, tmp_path / "again.toml")
    assert again.explain(2).reason == "the first\nof 2"
    with pytest.raises(pliant.PliantError, match="no such request; found 9"):
        results.explain(9)
    with pytest.raises(pliant.PliantError, match="was not run by this program"):
        pliant.Results(results.path).explain(0)


def test_policies_are_told_what_was_given_of_an_item(own: pliant.Experiment) -> None:
    features = {("support", "2"): "reset my password", ("support", "4"): np.arange(3)}
    seen: list[Any] = []

    def reads(request: Request, service: Service, menu: Menu) -> int:
        seen.append(request.features)
        return 0

    class Reads:
        def plan_batch(self, batch: Batch) -> NDArray[np.int64]:
            seen.extend(batch.features)
            return np.zeros(len(batch), dtype=np.int64)

    for policy in (reads, Reads):
        seen.clear()
        own.run([policy], methods=[], seeds=1, features=features)
        assert seen[0] == seen[3] == "reset my password"
        assert seen[1] is None
        assert seen[2] is features["support", "4"]
    own.run([reads], methods=[], seeds=1)
    assert seen[-1] is None
    with pytest.raises(pliant.PliantError, match="argument features, key: is no item; found '2'"):
        own.run([reads], features={"2": "text"})  # type: ignore[dict-item]


def test_threads_change_nothing(choosers: pliant.Experiment) -> None:
    one, two = (
        choosers.run([best], methods=["elastilm"], threads=threads, **SMALL) for threads in (1, 2)
    )
    for name in one.outcomes:
        np.testing.assert_array_equal(one.outcomes[name], two.outcomes[name])
    files = {name: (one.path / name).read_bytes() for name in ("metrics.csv", "paired.csv")}
    assert files == {name: (two.path / name).read_bytes() for name in files}


def raises(request: Request, service: Service, menu: Menu) -> int:
    if request.id == 2:
        raise ValueError("no such luck")
    return 0


@pytest.mark.parametrize(
    ("answer", "found"),
    [(2, "2"), (-1, "-1"), (float("nan"), "nan"), (0.5, "0.5"), (None, "None"), ("0", "'0'")],
)
def test_nonsense_is_named(own: pliant.Experiment, answer: Any, found: str) -> None:
    with pytest.raises(pliant.PliantError) as raised:
        own.run({"mine": lambda request, service, menu: answer}, methods=[])
    error = raised.value
    assert error.file == "policy mine"
    assert error.place == "request 0, seed 0, alpha 0, device phone"
    assert error.problem == "policy chose a plan that is no candidate"
    assert error.found == found
    assert error.allowed == "an index of the menu, 0 to 1"
    assert str(error) == (
        "policy mine, request 0, seed 0, alpha 0, device phone: policy chose a plan that is no "
        f"candidate; found {found}; allowed: an index of the menu, 0 to 1"
    )


def test_what_a_policy_raised_is_the_cause_and_others_keep_their_results(
    own: pliant.Experiment,
) -> None:
    with pytest.raises(pliant.PliantError, match="policy raises, request 2") as raised:
        own.run([raises, pliant.policy(lambda *_: 0, name="small")])
    error = raised.value
    assert isinstance(error.__cause__, ValueError)
    lines = "".join(traceback.format_exception(error.__cause__))
    assert 'raise ValueError("no such luck")' in lines
    assert error.found == "ValueError: no such luck"
    assert error.results is not None
    methods = ["small", "elastic-profile", "full"]
    assert error.results.metrics["method"].tolist() == methods
    kept = own.run([raises, pliant.policy(lambda *_: 0, name="small")], on_error="keep")
    assert kept.metrics["method"].tolist() == methods
    assert list(kept.failures) == ["raises"]


def test_a_batch_of_another_shape_is_named(own: pliant.Experiment) -> None:
    class Short:
        def plan_batch(self, batch: Batch) -> NDArray[np.int64]:
            return np.zeros(len(batch) + 1, dtype=np.int64)

    class Floats:
        def plan_batch(self, batch: Batch) -> NDArray[Any]:
            return np.full(len(batch), np.nan)

    for policy in (Short, Floats):
        with pytest.raises(pliant.PliantError, match=r"allowed: an array int64\[1\]"):
            own.run([policy], methods=[])


@pytest.mark.parametrize(
    ("of", "problem"),
    [
        (3, "is no policy"),
        (object(), "is no policy"),
        (dict, "is no policy"),
    ],
)
def test_what_is_no_policy_is_refused(own: pliant.Experiment, of: Any, problem: str) -> None:
    with pytest.raises(pliant.PliantError, match=problem):
        own.run([of])


def test_names_are_checked(own: pliant.Experiment) -> None:
    with pytest.raises(pliant.PliantError, match="two policies have one name"):
        own.run([lambda *_: 0, lambda *_: 1])
    with pytest.raises(pliant.PliantError, match="cannot be part of a file's name"):
        own.run({"a/b": lambda *_: 0})
    with pytest.raises(pliant.PliantError, match="argument like: has no such name; found nobody"):
        own.run([pliant.policy(lambda *_: 0, like="nobody")])
    with pytest.raises(pliant.PliantError, match="argument methods: has no such name"):
        own.run(methods=["nobody"])
    with pytest.raises(pliant.PliantError, match="appears twice"):
        own.run({"full": lambda *_: 0})
    with pytest.raises(pliant.PliantError, match="depends on something else"):
        pliant.policy(best, depends_on="mood")
