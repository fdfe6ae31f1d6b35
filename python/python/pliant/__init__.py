"""Elastic on-device LLM serving: a simulator whose policies are yours.

import pliant

def mine(request, service, menu):
    fits = menu.feasible.nonzero()[0]
    return fits[menu.expected_accuracy[fits].argmax()] if len(fits) else menu.least_late()

results = pliant.load("experiments/choosers.toml").run([mine], methods=["elastilm"], seeds=5)
results.paired.to_pandas()
results.figure("accuracy-at-slo")
"""

from . import bandit
from ._errors import PliantError
from ._experiment import Experiment, load, save
from ._explanation import Explanation
from ._inputs import Answers, Device, Trace, experiment, prompts
from ._native import Batch, Menu, Outcome, Request, Service
from ._policies import BatchPolicy, Named, Policy, policy
from ._results import Figure, Results
from ._table import Table

__all__ = [
    "Answers",
    "Batch",
    "BatchPolicy",
    "Device",
    "Experiment",
    "Explanation",
    "Figure",
    "Menu",
    "Named",
    "Outcome",
    "PliantError",
    "Policy",
    "Request",
    "Results",
    "Service",
    "Table",
    "Trace",
    "bandit",
    "experiment",
    "load",
    "policy",
    "prompts",
    "save",
]
