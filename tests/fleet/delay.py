"""How long after its handshake a session can be read on another host, by the rate of new sessions;
and the processor time that the agents take. Reported; asserted is that all arrive.

Records are put straight into a's store, as the library puts them, because handshakes cannot be made
that fast here."""

import os

from harness.processes import processor_ms
from harness.verdicts import check, same

SECONDS = {10: 5, 1000: 5, 10000: 4}  # by rate
FULL_SECONDS = {10: 60, 1000: 60, 10000: 30}


def delay(scene):
    scene.start_redis()
    scene.add_hosts("a", "b")
    print("from the put on a until it can be read on b, in ms; processor time of agents and Redis:")
    print_row("new sessions", "median", "p99", "most", "never", "a", "b", "Redis")
    for rate, seconds in (FULL_SECONDS if os.environ.get("FLEET_FULL") else SECONDS).items():
        measure(scene, rate, seconds)
    print_floor(scene)
    scene.check_health()


def print_row(what, median, p99, most, never, a, b, redis):
    print(f"{what:26} {median:>8} {p99:>8} {most:>8} {never:>6}   {a:>6} {b:>6} {redis:>6}")


def measure(scene, rate, seconds):
    a, b = scene.hosts["a"], scene.hosts["b"]
    pids = [process.pid for process in (a.agent.process, b.agent.process, scene.redis.process)]
    before = list(map(processor_ms, pids))
    told = scene.prepared.load.delay(a, b, rate, seconds)
    # Of one processor.
    shares = [f"{(processor_ms(pid) - then) // (seconds * 10)}%"
              for pid, then in zip(pids, before)]
    print_row(f"{rate}/s (came to {told['rate']}/s)", *figures(told), *shares)
    check(f"{rate} sessions/s: all reach the other host", same, "0", told["never"])


def figures(told):
    return [told[name] for name in ("median", "p99", "most", "never")]


def print_floor(scene):
    """The delay from a store to the same one, which the measurement itself adds."""
    a = scene.hosts["a"]
    told = scene.prepared.load.delay(a, a, 1000, 1)
    print_row("(from a to a, 1000/s)", *figures(told), "", "", "")
