"""The most accurate plan that is in time even after the wait that a request has had already."""

from pliant_policy import serve


def plan(request, service, candidates):
    waited_ms = service["now_ms"] - request["arrival_ms"]
    left_ms = request["bounds"].get("ttft_ms", float("inf")) - waited_ms
    in_time = [one for one in candidates if one.load <= 1 and one.ttft_ms <= left_ms]
    if not in_time:  # The objective is lost: be quick for those who wait.
        return min(candidates, key=lambda one: one.total_ms)
    return max(in_time, key=lambda one: one.expected_accuracy)


serve(plan)
