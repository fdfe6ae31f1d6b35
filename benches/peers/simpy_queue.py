"""`simpy_queue.py REQUESTS`: the queue of the other peers in SimPy. Prints requests and
the sum of waits in ns."""

import sys

import simpy


def load():
    """Gap before the next request and its service, in ns, as `peers` draws them."""
    state = 0
    while True:
        state = (state * 6364136223846793005 + 1) % 2**64
        high = state >> 32
        yield high % 2001, (high >> 16) % 64 * 26


def main():
    requests = int(sys.argv[1])
    env = simpy.Environment()
    server = simpy.Resource(env)
    waited = 0

    def request(takes):
        nonlocal waited
        arrived = env.now
        with server.request() as turn:
            yield turn
            waited += env.now - arrived
            yield env.timeout(takes)

    def source():
        for _, (gap, takes) in zip(range(requests), load()):
            env.process(request(takes))
            yield env.timeout(gap)

    env.process(source())
    env.run()
    print(requests, waited)


main()
