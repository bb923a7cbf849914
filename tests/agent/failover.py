"""The Redis that the agents use dies, and a replica of it goes on.

The replica lags: it lacks entries that were acknowledged, which only their host has."""

import os
import signal

from harness import processes
from harness.network import free_port
from harness.redis import Redis
from harness.verdicts import check, same, wait_until

from .command_line import refuses
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


def start_pair(scene):
    """A Redis and a replica that follows it."""
    primary = start_instance(scene, "primary")
    replica = start_instance(scene, "replica", "--replicaof", "127.0.0.1", str(primary.port))
    check("the replica follows", wait_until, 10, follows, replica)
    return primary, replica


def start_hosts(scene):
    """Two hosts, whose agents find the primary where they will find its successor."""
    lead_to(scene, "primary")
    scene.url = f"unix://{scene.work}/live.sock"
    a, b = scene.host("a"), scene.host("b")
    a.start_agent()
    b.start_agent()
    return a, b


def failover(scene):
    primary, replica = start_pair(scene)
    a, b = start_hosts(scene)
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


def restarted(scene):
    """The agent ends when it has seen the loss, and cannot send again yet."""
    primary, replica = start_pair(scene)
    a, b = start_hosts(scene)
    a.make("before", 5)
    check("all is well", wait_until, 10, b.resumes, "before", 5)
    make_unreplicated(a, b, primary, replica, "unreplicated", 10)
    primary.process.kill()
    a.make("meanwhile", 5)
    check("the state is told", wait_until, 5, a.agent.state_is, "unreachable")
    replica.process.send(signal.SIGCONT)
    lead_to(scene, "replica")
    check("a sees the loss", a.agent.says_soon, "sending again what the store still holds", 10)
    check("but cannot send", wait_until, 5, a.agent.state_is, "read-only")
    a.agent.process.kill()
    a.start_agent()
    b.start_agent()
    replica("REPLICAOF", "NO", "ONE")
    check("what was made meanwhile arrives", wait_until, 15, b.resumes, "meanwhile", 5)
    check("what the replica lacked arrives", wait_until, 15, b.resumes, "unreplicated", 10)
    check("and is sent again once", a.agent.shows, SENT_AGAIN, 1)
    scene.end_agents()


def start_sentinel(scene, primary):
    """A Sentinel that decides alone about the service main."""
    port, config = free_port(), scene.work / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\ndir {scene.work}\nprotected-mode no\n"
                      f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
                      "sentinel down-after-milliseconds main 1000\n"
                      "sentinel failover-timeout main 5000\n")
    process = processes.start("redis-server", config, "--sentinel",
                              log=scene.work / "sentinel.log", name="sentinel")
    sentinel = Redis(process, port)
    wait_until(10, sentinel.answers)
    return sentinel


def knows_replica(sentinel):
    return len(sentinel("SENTINEL", "REPLICAS", "main")) == 1


def sentinel(scene):
    """The agents know two Sentinels, of which one is away."""
    primary, replica = start_pair(scene)
    watcher = start_sentinel(scene, primary)
    check("Sentinel knows it", wait_until, 15, knows_replica, watcher)
    scene.url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{watcher.port}/main"
    a, b = scene.host("a"), scene.host("b")
    a.start_agent()
    b.start_agent()
    check("a connects", a.agent.says_soon, "connected to Redis at main by Sentinel at 127")
    check("b connects", b.agent.says_soon, "connected to Redis")
    a.make("before", 5)
    check("all is well", wait_until, 10, b.resumes, "before", 5)
    check("the primary has it", primary("DBSIZE") > 0)
    check("another service is told", refuses, scene, 1,
          "Redis is refused: Sentinel does not know the service other", "--once", "--store",
          scene.host("c").store, "--redis", f"redis+sentinel://127.0.0.1:{watcher.port}/other")
    primary.process.kill()
    check("the replica is promoted", wait_until, 20, lambda: same("master", replica.role()))
    check("a goes on", wait_until, 15, a.agent.state_is, "ok")
    a.make("after", 5)
    check("and all is well", wait_until, 15, b.resumes, "after", 5)
    check("nothing was lost", a.agent.shows, "replication_lost_records_total", 0)
    scene.end_agents()
