"""Traces, devices and answers from data frames, good and bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pliant
import pytest
from conftest import GRADES, LEVELS, METHODS, REQUESTS, ROOT, answers_frame, device


def test_a_trace_comes_back_as_its_frame(tmp_path: Path) -> None:
    trace = pliant.Trace.of(REQUESTS)
    columns = trace.columns
    for name, cells in REQUESTS.items():
        assert columns[name].tolist() == cells, name
    trace.write(tmp_path / "trace.csv.gz")
    again = pliant.Trace.read(tmp_path / "trace.csv.gz")
    assert again.fingerprint == trace.fingerprint
    assert len(again) == 4


def test_data_frames_of_pandas_are_read() -> None:
    pandas = pytest.importorskip("pandas")
    trace = pliant.Trace.of(pandas.DataFrame(REQUESTS))
    assert trace.fingerprint == pliant.Trace.of(REQUESTS).fingerprint
    assert pliant.Trace.of(trace.columns.to_pandas().astype({"app": str, "dataset": str}))
    answers = pliant.Answers.of("my-llm", {"width": pandas.DataFrame(answers_frame())})
    assert answers.frame()["grade"].tolist() == list(GRADES.values())


def changed(**columns: Any) -> dict[str, Any]:
    frame = {**REQUESTS, **columns}
    return {name: cells for name, cells in frame.items() if cells is not None}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (changed(item=None), 'data frame of a trace, column "item": column is missing; found id, '),
        (changed(colour=[1] * 4), 'column "colour": column is not known; allowed: id, '),
        (
            changed(prompt_tokens=[1.5] * 4),
            'column "prompt_tokens": column of another type; found float64[4]; '
            "allowed: whole numbers",
        ),
        (
            changed(arrival_ms=["0", "1", "2", "3"]),
            'column "arrival_ms": column of another type; found <U1[4]; allowed: numbers',
        ),
        (changed(id=[0, 1]), "columns differ in length; found 2, 4"),
        (changed(ttft_ratio=[1, 0.6, 60.0, 1]), 'line 4, column "ttft_ratio"'),
        (
            changed(ttft_ms=[1.0] * 4),
            'data frame of a trace, line 1, column "tpot_ms": missing column',
        ),
        (changed(arrival_ms=[3.0, 2.0, 1.0, 0.0]), "data frame of a trace, line 3"),
    ],
)
def test_a_bad_trace_is_named(frame: dict[str, Any], message: str) -> None:
    with pytest.raises(pliant.PliantError) as raised:
        pliant.Trace.of(frame)
    assert message in str(raised.value)


def test_a_device_is_read_made_and_written(tmp_path: Path) -> None:
    made = device()
    made.save(tmp_path / "phone")
    again = pliant.Device.read(tmp_path / "phone")
    assert again.spec == made.spec
    assert again.name == "phone"
    assert again.spec["family"][0]["level"][1]["ttft_ms"]["per_token"] == 2.0


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({**LEVELS, "level_percent": [100, 50]}, "device phone, family my-llm/width: levels out"),
        ({**LEVELS, "ttft_ms": [-5.0, 5.0]}, "device phone, family my-llm/width"),
        ({**LEVELS, "level_percent": [50, 90]}, "the last level is not the base model"),
        ({"level_percent": [100]}, 'column "ttft_ms": column is missing'),
    ],
)
def test_a_bad_device_is_named(levels: dict[str, Any], message: str) -> None:
    with pytest.raises(pliant.PliantError) as raised:
        pliant.Device.of("phone", {"width": levels}, base_model="my-llm", source="a page")
    assert message in str(raised.value)


def test_answers_are_read_from_files() -> None:
    folder = ROOT / "device-profiles/quality/smollm2-135m-instruct"
    answers = pliant.Answers.read(folder)
    assert answers.base_model == "smollm2-135m-instruct"
    lengths = answers.prompt_tokens("score-head")
    assert lengths.columns[:4] == ["dataset", "item", "asked", "r10"]
    assert lengths.rows > 1000
    with pytest.raises(pliant.PliantError, match=r"has no such table; found mine\.csv"):
        answers.frame("mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grade": [2.0] * len(GRADES)}, 'column "grade": not a cell of this table; found "2"'),
        ({"level": [0] * len(GRADES)}, "not a level"),
        ({"item": ["1"] * len(GRADES)}, "cell given twice"),
    ],
)
def test_bad_answers_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(pliant.PliantError) as raised:
        pliant.Answers.of("my-llm", {"width": {**answers_frame(), **change}})
    assert message in str(raised.value)


def test_what_does_not_fit_together_is_named_when_it_is_run() -> None:
    answers = pliant.Answers.of("another", {"width": answers_frame()})
    made = pliant.experiment(pliant.Trace.of(REQUESTS), device(), answers, METHODS)
    with pytest.raises(pliant.PliantError, match="device profile phone: no such family"):
        made.run()
    made = pliant.experiment(
        pliant.Trace.of(REQUESTS), device(), answers, METHODS, latency_of="my-llm"
    )
    np.testing.assert_allclose(made.run().metrics["accuracy"], [0.5625, 0.875])


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("seeds = 'many'\n")
    with pytest.raises(pliant.PliantError) as raised:
        pliant.load(file)
    assert raised.value.file == str(file)
    assert raised.value.place == "line 1"


def test_prompts_are_read_by_item_without_their_answers(tmp_path: Path) -> None:
    steps = [
        {
            "id": f"clock/task {nth}/0",
            "context": f"<button id=1>Alarm {nth}</button>\n<button id=2>Stop watch</button>",
            "question": f"Task: set alarm {nth}.",
            "choices": [f"<button id=1>Alarm {nth}</button>", "<button id=2>Stop watch</button>"],
            "gold": 0,
        }
        for nth in range(200)
    ]
    file = tmp_path / "steps.jsonl"
    file.write_text("".join(json.dumps(step) + "\n" for step in steps))
    texts = pliant.prompts("ui-automation", droidtask=file)
    dataset, item = next(iter(texts))
    assert dataset == "ui-automation"
    text = texts[dataset, item]
    assert text.startswith(f"Alarm {item}\nStop watch\n")
    assert text.endswith("Answer:")
    whole = pliant.prompts("ui-automation", shots=True, droidtask=file)
    assert list(whole) == list(texts)
    assert whole[dataset, item].endswith(text)
    assert len(whole[dataset, item]) > len(text)
    with pytest.raises(pliant.PliantError, match="dataset: unknown; found nothing"):
        pliant.prompts("nothing")
    with pytest.raises(pliant.PliantError, match="ui-automation: no file given"):
        pliant.prompts("ui-automation")
