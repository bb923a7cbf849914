"""Redis dies, is emptied, hangs, or refuses: the agents say so, and lose nothing."""

from harness.network import is_connected_to
from harness.relay import relay
from harness.verdicts import at_least, check, same, wait_until

from .scene import STREAMS, stream

SENT_AGAIN = 'replication_rewinds_total{direction="send"}'


def note_what_was_sent(scene):
    """Waits until each of two agents has looked at Redis again, as it does once a second.

    Only then an agent notes the ids that it will look for, to see whether Redis lost entries."""
    before = looks(scene)
    wait_until(5, lambda: looks(scene) >= before + 3)


def looks(scene):
    """Each look begins with a TIME."""
    for line in scene.redis("INFO", "commandstats").decode().splitlines():
        if line.startswith("cmdstat_time:"):
            return int(line.split("calls=")[1].split(",")[0])
    return 0


def redis_restarted(scene):
    a, b = scene.two_hosts()
    a.make("here", 10)
    wait_until(5, b.resumes, "here", 10)
    note_what_was_sent(scene)
    scene.redis.process.kill()
    a.make("away", 10)
    check("on the same host they resume meanwhile", a.resumes, "away", 10)
    check("the state is told", wait_until, 5, a.agent.state_is, "unreachable")
    scene.start_redis()
    check("restarted empty: sessions of meanwhile arrive", wait_until, 15, b.resumes, "away", 10)
    check("and go the other way", wait_until, 15, b.agent.state_is, "ok")
    check("what it had lost is sent again", wait_until, 5, a.agent.shows, SENT_AGAIN, 1)
    check("a line says so", a.agent.says, "sending again what the store still holds")
    c = scene.host("c")
    c.start_agent(tells=False)
    check("so that a new host gets sessions of before", wait_until, 15, c.resumes, "here", 10)
    check("the new host ends", c.agent.ends)


def flush(scene):
    a, b = scene.two_hosts()
    a.make("flush", 5)
    wait_until(5, b.resumes, "flush", 5)
    note_what_was_sent(scene)
    scene.redis("FLUSHALL")
    a.make("flushed", 5)
    check("after FLUSHALL: what was made since", wait_until, 10, b.resumes, "flushed", 5)
    c = scene.host("c")
    c.start_agent(tells=False)
    check("and before", wait_until, 15, c.resumes, "flush", 5)
    check("the new host ends", c.agent.ends)
    # A Redis whose clock is behind, or that was restored, has lower ids than were read. (What a
    # would send again has higher ones.)
    check("a ends", a.agent.ends)
    scene.redis("FLUSHALL")
    for number in STREAMS:
        scene.redis("XADD", stream(number), "5-5", "hello", "world")
    check("a stream that ends earlier is read from its beginning", b.agent.says_soon,
          "the streams end before")
    scene.redis("FLUSHALL")
    a.start_agent()
    a.make("shorter", 5)
    check("and then it goes on", wait_until, 10, b.resumes, "shorter", 5)


def refilled(scene):
    """Each stream has new entries at once after FLUSHALL, before an agent looks again."""
    a, b = scene.two_hosts()
    a.make("before", 5)
    wait_until(5, b.resumes, "before", 5)
    note_what_was_sent(scene)
    scene.redis("FLUSHALL")
    a.make("since", 40)
    check("what was made since", wait_until, 10, b.resumes, "since", 40)
    check("what was lost is sent again", wait_until, 5, a.agent.shows, SENT_AGAIN, 1)
    c = scene.host("c")
    c.start_agent(tells=False)
    check("and a new host gets it", wait_until, 15, c.resumes, "before", 5)
    scene.end_agents()


def stopped(scene):
    a, b = scene.two_hosts()
    c = scene.host("c")
    with scene.redis.process.paused():
        a.make("stopped", 10)
        check("healthz tells", wait_until, 15, a.agent.is_unhealthy)
        check("with the reason", "does not do what it is asked" in a.agent.page("/healthz")[1])
        c.start_agent(tells=False)
        wait_until(5, is_connected_to, scene.redis_port, c.agent.process.pid)
        check("told to end while Redis hangs: within a second", c.agent.ends)
    check("what was made meanwhile arrives", wait_until, 15, b.resumes, "stopped", 10)
    check("healthz recovers", wait_until, 15, a.agent.is_healthy)


def unwilling(scene):
    a, b = scene.two_hosts()
    scene.redis("REPLICAOF", "127.0.0.1", "1")
    a.make("readonly", 5)
    check("read-only is told", wait_until, 5, a.agent.state_is, "read-only")
    check("in one line", same, 1, len(a.agent.lines("is read-only")))
    scene.redis("REPLICAOF", "NO", "ONE")
    check("and passes", wait_until, 10, b.resumes, "readonly", 5)
    scene.redis("CONFIG", "SET", "maxmemory", 1)
    a.make("full", 5)
    check("full is told", wait_until, 5, a.agent.state_is, "full")
    scene.redis("CONFIG", "SET", "maxmemory", 0)
    check("and passes", wait_until, 10, b.resumes, "full", 5)
    scene.redis("DEL", stream(2))
    scene.redis("SET", stream(2), "x")
    check("a key of another type is told", wait_until, 5, b.agent.state_is, "refused")
    check("and named", b.agent.says, r"the key sesscache:\{web:2\}:log is no stream")
    scene.redis("DEL", stream(2))
    check("and passes", wait_until, 15, b.agent.state_is, "ok")


def proxy(scene):
    """A proxy before Redis ends every connection after two seconds. That is no failure of Redis."""
    scene.start_redis()
    direct = scene.url
    with relay(scene.redis_port, lifetime=2) as (port, ended):
        scene.url = f"redis://127.0.0.1:{port}"
        a, b = scene.two_hosts()
        wait_until(15, lambda: at_least(20, len(ended)))
        a.make("through", 5)
        check("sessions arrive", wait_until, 5, b.resumes, "through", 5)
        for host in (a, b):
            check(f"{host.name} warns of nothing", same, [], host.agent.lines("WARN|ERROR"))
            check(f"{host.name} connects again", host.agent.shows_least,
                  "redis_reconnects_total", 5)
            check(f"{host.name} is well", host.agent.is_healthy)
    scene.redis.process.kill()
    check("a Redis that is away is told", wait_until, 10, a.agent.state_is, "unreachable")
    check("in one line", same, 1, len(a.agent.lines("is unreachable")))
    scene.url = direct
    scene.end_agents()
