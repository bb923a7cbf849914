"""The Redis that the agents use dies, and a replica of it goes on.

The replica lags: it lacks entries that were acknowledged, which only their host has."""

import os
import signal

from harness.network import free_port
from harness.redis import Redis
from harness.verdicts import check, same, wait_until

from .outages import SENT_AGAIN


def make_unreplicated(a, b, master, replica, sessions, count):
    """Sessions of a that Redis has acknowledged, while its replica does not listen, until it is
    continued, and b's agent is away."""
    before = a.sent()
    check("b ends", b.agent.ends)
    replica.process.send(signal.SIGSTOP)
    # The kernel would keep for it what it does not read now.
    master("CLIENT", "KILL", "TYPE", "replica")
    a.make(sessions, count)
    check("they are acknowledged", wait_until, 5, a.has_sent, before + count)


def start_instance(scene, name, *options):
    return Redis.start(scene.work, free_port(), "--unixsocket", scene.work / f"{name}.sock",
                       "--repl-diskless-sync-delay", "0", *options, name=name)


def lead_to(scene, name):
    """The socket that the agents know is this instance's from now on."""
    new = scene.work / "new.sock"
    new.symlink_to(f"{name}.sock")
    os.replace(new, scene.work / "live.sock")


def follows(replica):
    return same(b"connected", replica("ROLE")[3])


def failover(scene):
    primary = start_instance(scene, "primary")
    replica = start_instance(scene, "replica", "--replicaof", "127.0.0.1", str(primary.port))
    check("the replica follows", wait_until, 10, follows, replica)
    lead_to(scene, "primary")
    scene.url = f"unix://{scene.work}/live.sock"
    a, b = scene.host("a"), scene.host("b")
    a.start_agent()
    b.start_agent()
    check("a connects", a.agent.says_soon, "connected to Redis")
    a.make("before", 5)
    check("all is well", wait_until, 10, b.resumes, "before", 5)
    make_unreplicated(a, b, primary, replica, "unreplicated", 10)
    primary.process.kill()
    replica.process.send(signal.SIGCONT)
    lead_to(scene, "replica")
    b.start_agent()
    a.make("meanwhile", 5)
    check("before it is promoted, read-only is told", wait_until, 10,
          a.agent.state_is, "read-only")
    b.make("meantime", 5)
    check("on the same host all resume meanwhile", a.resumes, "unreplicated", 10)
    check("b lacks what the replica lacks", lambda: same(0, b.resumed("unreplicated", 10)))
    replica("REPLICAOF", "NO", "ONE")
    check("promoted: a is well again", wait_until, 15, a.agent.state_is, "ok")
    check("what was made before it was promoted arrives", wait_until, 15,
          b.resumes, "meanwhile", 5)
    check("and goes the other way", wait_until, 15, a.resumes, "meantime", 5)
    check("what the replica lacked arrives", wait_until, 15, b.resumes, "unreplicated", 10)
    check("as a sent everything again, once", a.agent.shows, SENT_AGAIN, 1)
    check("nothing was lost", a.agent.shows, "replication_lost_records_total", 0)
    scene.end_agents()
