"""Agents are killed with SIGKILL and started again: nothing is lost that the ring still holds. Told
to end, they first send what there is."""

import random
import signal
import time

from harness.verdicts import at_most, check, same, wait_until

from .host import BY_ID

MOST_MS = 1499  # until an agent has ended


def killed_agent(scene):
    scene.start_redis()
    for host in scene.add_hosts("a", "b"):
        while_dead(scene, host)
    kill_often(scene)
    end_politely(scene)
    scene.check_health()


def while_dead(scene, host):
    """The agent of this host is dead while sessions are made on a."""
    a, b, name = scene.hosts["a"], scene.hosts["b"], host.name
    host.kill_agent()
    saved = []
    for kind in BY_ID:
        saved.append(a.save(kind, 100))
        check(f"agent of {name} dead, {kind}: a's sessions resume on a", a.resumes, saved[-1], 100)
    host.start_agent()
    for sessions in saved:
        check(f"agent of {name} was dead, {sessions.kind}: all sessions resume on b", wait_until,
              10, b.resumes, sessions, 100)


def kill_often(scene):
    """Both agents, in turn, at moments of no particular kind, while both stores grow."""
    a, b, load = scene.hosts["a"], scene.hosts["b"], scene.prepared.load
    fillers = [load.start_filling(a, 1500, 6000), load.start_filling(b, 500, 2000)]
    kills = 0
    while any(filler.alive() for filler in fillers):
        for host in (a, b):
            time.sleep(random.uniform(0, 0.4))
            host.kill_agent()
            kills += 1
            host.start_agent()
    for filler in fillers:
        assert filler.status() == 0, f"fleet-load ended with {filler.status()}"
    for source, target, count in ((a, b, 6000), (b, a, 2000)):
        check(f"agents killed {kills} times: {target.name} has all that {source.name}'s ring holds",
              wait_until, 10, load.nothing_is_missing, source, target)
        print(f"agents killed {kills} times: of {count} records {source.name}"
              f" {load.compare(source, target)} on {target.name}")


def end_politely(scene):
    a, b, load = scene.hosts["a"], scene.hosts["b"], scene.prepared.load
    a.kill_agent()
    a.start_agent()
    load.fill(a, 100000, 500)
    status, took = end_agent(a)
    print(f"SIGTERM with 500 records just written: ended with {status} after {took} ms")
    check("SIGTERM: the agent ends with 0, in about a second at most", ended_well, status, took)
    check("SIGTERM: what was there was sent first", wait_until, 5, load.nothing_is_missing, a, b)
    a.start_agent()
    with scene.redis.process.paused():
        load.fill(a, 100000, 500)
        status, took = end_agent(a)
    print(f"SIGTERM while Redis is paused: ended with {status} after {took} ms")
    check("SIGTERM while Redis is paused: the agent ends in about a second at most", at_most,
          MOST_MS, took)
    a.start_agent()
    check("after that: what it could not send comes with the next agent", wait_until, 10,
          load.nothing_is_missing, a, b)


def end_agent(host):
    """(its status, how many milliseconds it took to end)"""
    process, began = host.agent.process, time.monotonic()
    process.send(signal.SIGTERM)
    status = process.status(10)
    took = round((time.monotonic() - began) * 1000)
    process.kill()
    return status, took


def ended_well(status, took):
    return same(0, status) and at_most(MOST_MS, took)
