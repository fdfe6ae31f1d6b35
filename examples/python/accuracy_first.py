"""The most accurate plan whose forecast meets the objective: elastic-profile's rule, in Python."""

import json
import sys


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


hello = json.loads(sys.stdin.readline())
say({"type": "ready", "protocol": hello["protocol"], "forecasts": True})
accuracy = dict(zip(hello["datasets"], hello["expected_accuracy"]))

for line in sys.stdin:
    request = json.loads(line)
    expected, bounds = accuracy[request["dataset"]], request["bounds"]
    gaps = request["output_tokens"] - 1

    def rank(index):
        ttft, tpot = request["forecasts"][index]
        load = max(ttft / bounds["ttft_ms"], tpot / bounds["tpot_ms"] if gaps else 0)
        total_ns = round(ttft * 1e6) + gaps * round(tpot * 1e6)
        fits = load <= 1
        return (fits, (expected[index] or 0) if fits else -load, -total_ns, -index)

    best = max(range(len(expected)), key=rank)
    say({"id": request["id"], **hello["candidates"][best]})
