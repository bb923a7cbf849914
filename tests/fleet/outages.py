"""Redis fails in every way it can, under load: handshakes do not notice, on the same host all goes
on resuming, and when it is over the hosts have each other's sessions, also those made meanwhile.

Host c has no agent. The load goes to a and c in turn, so that their figures are of the same
moments; the agents take their share of the processors from both. The ratio is reported; asserted
is that no connection fails, that all that can resume do, and that no handshake takes a second."""

import os
import signal
import time
from dataclasses import dataclass
from typing import Callable

from harness import processes
from harness.tls import load_lines
from harness.verdicts import at_most, check, happens, same

from .host import BY_ID, Kind, Sessions
from .scene import REDIS

IDS, STATEFUL = BY_ID
BRIEF = 2  # seconds; the agents just wait
LONG = 5   # they give up, and come again
NOBODY = ("10.80.1.8", 6379)  # a replica of it is read-only
COLUMNS = "{:28} {:>6} {:>7}  {:>8} {:>8} {:>6}  {:>8} {:>8} {:>6}  {:>6} {:>9}"


def nothing(_):
    pass


def start_agents(scene):
    scene.hosts["a"].start_agent()
    scene.hosts["b"].start_agent()


def kill_redis(scene):
    scene.redis.process.kill()


def start_redis(scene):
    scene.start_redis()


def restart_redis(scene):
    kill_redis(scene)
    start_redis(scene)


def pause_redis(scene):
    scene.redis.process.send(signal.SIGSTOP)


def continue_redis(scene):
    scene.redis.process.send(signal.SIGCONT)


def cut_off_redis(_):
    REDIS.unplug()


def reach_redis(_):
    REDIS.plug_in()


def cut_off_a(scene):
    scene.hosts["a"].machine.unplug()


def reach_a(scene):
    scene.hosts["a"].machine.plug_in()


def flush_redis(scene):
    scene.redis("FLUSHALL")


def fill_redis(scene):
    scene.redis("CONFIG", "SET", "maxmemory", 1)


def empty_redis(scene):
    scene.redis("CONFIG", "SET", "maxmemory", 0)


def make_replica(scene):
    scene.redis("REPLICAOF", *NOBODY)


def make_primary(scene):
    scene.redis("REPLICAOF", "NO", "ONE")


@dataclass(frozen=True)
class Outage:
    """The load lasts from before `begin` until after `end`."""

    what: str
    kind: Kind
    begin: Callable
    end: Callable
    seconds: int = BRIEF


OUTAGES = (
    Outage("has no agents yet", IDS, nothing, start_agents),
    Outage("is well", STATEFUL, nothing, nothing),
    Outage("killed, restarted empty", STATEFUL, kill_redis, start_redis),
    Outage("restarted empty at once", IDS, restart_redis, restart_redis),
    Outage("paused (SIGSTOP) briefly", IDS, pause_redis, continue_redis),
    Outage("paused (SIGSTOP) for long", STATEFUL, pause_redis, continue_redis, LONG),
    Outage("cut off from all for long", IDS, cut_off_redis, reach_redis, LONG),
    Outage("cut off from a", STATEFUL, cut_off_a, reach_a),
    Outage("flushed twice", IDS, flush_redis, flush_redis),
    Outage("full", STATEFUL, fill_redis, empty_redis),
    Outage("read-only", IDS, make_replica, make_primary),
)


def outages(scene):
    scene.start_redis()
    for name in ("a", "b", "c"):
        scene.make_host(name).start_server()
    print("handshakes in ms on a, which has an agent, and on c, which has none, at the same time;"
          " the\nsessions made on a meanwhile, and how soon after the last of them all have resumed"
          " on b:")
    print(COLUMNS.format("Redis", "conns", "resumed", "a p50", "a p99", "most", "c p50", "c p99",
                         "ratio", "made", "all on b"))
    for outage in OUTAGES:
        suffer(scene, outage)
    scene.check_health()


def suffer(scene, outage):
    """The load, the outage meanwhile, and the verdicts on both."""
    a, c, kind = scene.hosts["a"], scene.hosts["c"], outage.kind
    seconds = outage.seconds * (5 if os.environ.get("FLEET_FULL") else 1)
    name = outage.what.replace(" ", "-")
    sessions = Sessions(kind, scene.work / f"{name}.sessions")
    load = processes.start(
        *a.client(kind).load_command(a.place(kind), c.place(kind), seconds + 2, sessions.file),
        log=scene.work / f"{name}.load.log")
    time.sleep(0.5)
    outage.begin(scene)
    time.sleep(seconds)
    outage.end(scene)
    assert load.status(60) == 0, f"{outage.what}: the load ended with {load.status()}"
    judge(scene, outage.what, sessions, load_lines(load.log.read_text()), time.monotonic())


def judge(scene, what, sessions, figures, ended):
    a, c = figures
    check(f"{what}: no connection fails", same, 0, a["failed"])
    check(f"{what}: all resume on the same host", same, a["offered"], a["resumed"])
    check(f"{what}: without an agent neither", same, (0, c["offered"]),
          (c["failed"], c["resumed"]))
    check(f"{what}: no handshake takes a second", at_most, 1000, a["most"])
    made = sessions.file.read_text().count("BEGIN")
    arrived = happens(15, scene.hosts["b"].resumes, sessions, made)
    after = f"{(time.monotonic() - ended) * 1000:.0f} ms" if arrived else "no"
    check(f"{what}: all {made} sessions made meanwhile resume on the other host", arrived)
    print(COLUMNS.format(
        what, int(a["connections"] + c["connections"]),
        f"{a['resumed'] * 100 // a['offered']:.0f}%", f"{a['p50']:.2f}", f"{a['p99']:.2f}",
        f"{a['most']:.2f}", f"{c['p50']:.2f}", f"{c['p99']:.2f}", ratio(a["p99"], c["p99"]), made,
        after))


def ratio(x, y):
    return f"{x / y if y > 0 else 0:.2f}"
