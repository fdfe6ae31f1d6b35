"""A policy for Pliant in ten lines of Python: a function, handed to `serve`.

    from pliant_policy import serve

    def plan(request, service, candidates):
        in_time = [one for one in candidates if one.load <= 1] or candidates
        return max(in_time, key=lambda one: one.expected_accuracy)

    serve(plan)
"""

import json
import os
import random
import sys


class Candidate:
    """A plan and its forecast; its `load` is above 1 if the objective is missed."""
    __slots__ = tuple("level prompt_ratio expected_accuracy ttft_ms tpot_ms total_ms load".split())
    def predict(self, ttft_ms, tpot_ms, gaps, bounds, power_mw, energy_mj=None):
        self.ttft_ms, self.tpot_ms = ttft_ms, tpot_ms
        self.total_ms = total_ms = (round(ttft_ms * 1e6) + gaps * round(tpot_ms * 1e6)) / 1e6
        takes = {"ttft_ms": ttft_ms, "tpot_ms": tpot_ms if gaps else 0, "e2e_ms": total_ms}
        takes["energy_mj"] = (power_mw or 0) * total_ms / 1e3 if energy_mj is None else energy_mj
        self.load = max(takes[name] / most for name, most in bounds.items())


def messages():
    """What Pliant says; from the pipe itself, which is quicker than `sys.stdin`."""
    rest = b""
    while chunk := os.read(0, 1 << 16):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, whole)


def place(plan):
    """Where the function `plan` stands: `plan (mine.py, line 5)`."""
    code = getattr(plan, "__code__", None)
    where = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
    return f"{getattr(plan, '__name__', plan)}{where}"


def serve(plan, observe=None, forecasts=True):
    """Asks `plan(request, service, candidates)` for one of `candidates` until Pliant hangs up."""
    sys.stdout = sys.stderr  # What a policy prints must not be taken for an answer.
    said = messages()
    hello = next(said)
    random.seed(hello["seed"])
    ready = {"type": "ready", "protocol": 1, "forecasts": forecasts, "observe": observe is not None}
    os.write(1, json.dumps(ready).encode() + b"\n")
    known = {name: [Candidate() for _ in hello["candidates"]] for name in hello["datasets"]}
    for candidates, accuracies in zip(known.values(), hello["expected_accuracy"]):
        for one, shares, accuracy in zip(candidates, hello["candidates"], accuracies):
            one.level, one.prompt_ratio = shares["level"], shares["prompt_ratio"]
            one.expected_accuracy = accuracy or 0
    for message in said:
        if message["type"] == "outcome":
            observe(message)
            continue
        candidates, gaps = known[message["dataset"]], message["output_tokens"] - 1
        energies = message.get("energies_mj") or [None] * len(candidates)
        for one, times, energy_mj in zip(candidates, message.get("forecasts", ()), energies):
            one.predict(*times, gaps, message["bounds"], hello["power_mw"], energy_mj)
        service = {key: message.get(key, 1.0) for key in "now_ms resident queued speed".split()}
        best = plan(message, service, candidates)
        if not hasattr(best, "level"):
            raise TypeError(f"{place(plan)} returned {best!r}, not one of the candidates")
        shares = f'"level": {best.level}, "prompt_ratio": {best.prompt_ratio}'
        os.write(1, f'{{"id": {message["id"]}, {shares}}}\n'.encode())
