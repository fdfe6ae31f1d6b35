"""The largest plan that fits the objective by the study's law: TTFT is level times prompt ratio."""

import json
import os


def lines():
    """Lines of standard input; reads the pipe directly, which is quicker than `sys.stdin`."""
    rest = b""
    while chunk := os.read(0, 1 << 16):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


questions = lines()
hello = json.loads(next(questions))
candidates = sorted(
    ((plan["level"], plan["prompt_ratio"]) for plan in hello["candidates"]), reverse=True
)
os.write(1, b'{"type": "ready", "protocol": 1}\n')
known = {}

for line in questions:
    request = json.loads(line)
    slo = request["slo"]
    ttft, tpot = slo.get("ttft_ratio", 1), slo.get("tpot_ratio", 1)
    if (ttft, tpot) not in known:
        fitting = (plan for plan in candidates if plan[0] * plan[1] <= ttft and plan[0] <= tpot)
        known[ttft, tpot] = next(fitting, candidates[-1])
    level, ratio = known[ttft, tpot]
    answer = f'{{"id": {request["id"]}, "level": {level}, "prompt_ratio": {ratio}}}\n'
    os.write(1, answer.encode())
