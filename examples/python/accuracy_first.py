"""The most accurate plan whose forecast meets the objective: elastic-profile's rule, in Python."""

from pliant_policy import serve


def plan(request, service, candidates):
    in_time = [one for one in candidates if one.load <= 1]
    if not in_time:
        return min(candidates, key=lambda one: (one.load, one.total_ms))
    return min(in_time, key=lambda one: (-one.expected_accuracy, one.total_ms))


serve(plan)
