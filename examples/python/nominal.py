"""The largest plan that fits the objective by the study's law: TTFT is level times prompt ratio.

Written for speed: no forecasts, one look-up per request.
"""

from pliant_policy import serve

known = {}


def plan(request, service, candidates):
    slo = request["slo"]
    objective = slo.get("ttft_ratio", 1), slo.get("tpot_ratio", 1)
    if objective not in known:
        known[objective] = largest(candidates, *objective)
    return known[objective]


def largest(candidates, ttft, tpot):
    def fits(one):
        return one.level * one.prompt_ratio <= ttft and one.level <= tpot

    def size(one):
        return one.level, one.prompt_ratio

    return max(filter(fits, candidates), key=size, default=min(candidates, key=size))


serve(plan, forecasts=False)
