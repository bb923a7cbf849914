"""Sessions travel: between two hosts, to a new one, past agents that were away, and to none that
is another's."""

from harness.run import run
from harness.verdicts import at_least, at_most, check, same, wait_until

from .command_line import refuses
from .scene import stream


def two_hosts(scene):
    scene.start_redis()
    a, b = scene.host("a"), scene.host("b")
    a.start_agent()
    b.start_agent()
    check("a connects", a.agent.says_soon, "connected to Redis")
    check("b connects", b.agent.says_soon, "connected to Redis")
    a.make("here", 50)
    check("50 of 50 of a resume at b", wait_until, 2, b.resumes, "here", 50)
    b.make("there", 20)
    check("20 of 20 of b resume at a", wait_until, 2, a.resumes, "there", 20)
    check("and still where they were made", a.resumes, "here", 20)
    check("a removal travels", removal_travels, a, b)
    check("and the other way", removal_travels, b, a)
    check("a second agent is refused", refuses, scene, 1, f"{a.store} has an agent already",
          "--store", a.store, "--redis", scene.url)
    check("nothing was lost", a.agent.shows, "replication_lost_records_total", 0)
    check("the lag is measured", at_least, 50, b.agent.figure("replication_lag_seconds_count"))
    check("the resumptions count as those of another host's sessions", wait_until, 5,
          b.agent.shows_least, 'connections_total{result="resumed",how="other_host"}', 50)
    check("both are healthy", lambda: a.agent.is_healthy() and b.agent.is_healthy())


def removal_travels(here, there):
    """A session of one host resumes at the other until a fatal alert removes it at the first."""
    session = f"removed-{here.name}"
    here.make(session, 1)
    wait_until(10, there.resumes, session, 1)
    here.spoil(session)
    wait_until(10, lambda: same(0, there.resumed(session, 1)))
    return same(0, here.resumed(session, 1))


def new_host(scene):
    a, _ = scene.two_hosts()
    a.make("here", 50)
    wait_until(5, a.has_sent, 50)
    c = scene.host("c")
    c.start_agent(tells=False)
    check("a new host is filled", c.agent.says_soon, "filled the store from the streams: .* in")
    check("what was made before it was there resumes", c.resumes, "here", 20)
    check("it ends with 0, soon", c.agent.ends)


def restarts(scene):
    a, b = scene.two_hosts()
    a.make("here", 50)
    wait_until(5, b.has_received, 50)
    a.agent.process.kill()
    a.make("killed", 10)
    a.start_agent()
    check("a: an agent that was killed goes on where it was", wait_until, 10,
          b.resumes, "killed", 10)
    b.agent.process.kill()
    a.make("deaf", 10)
    b.start_agent()
    check("b: so does one that only listened", wait_until, 10, b.resumes, "deaf", 10)
    check("it read nothing twice", at_most, 12, b.received())
    with a.agent.process.paused():
        a.make("frozen", 10)
        check("servers do not mind an agent that hangs", a.resumes, "frozen", 10)
    check("which goes on", wait_until, 10, b.resumes, "frozen", 10)
    check("nothing was lost", a.agent.shows, "replication_lost_records_total", 0)


def namespaces(scene):
    a, b = scene.two_hosts()
    d = scene.host("d", SESSCACHE_NAMESPACE="other")
    d.start_agent(tells=False)
    check("it connects", d.agent.says_soon, "connected to Redis")
    d.make("other", 5)
    a.make("sign", 1)
    check("both arrive", wait_until, 5, b.resumes, "sign", 1)
    wait_until(5, b.has_received, 6)
    check("sessions of another namespace do not resume", same, 0, b.resumed("other", 5))
    check("they do where they belong", d.resumes, "other", 5)
    check("it ends", d.agent.ends)
    d.start_agent("--streams", "3", tells=False)
    d.make("three", 3)
    check("another number of streams is told", b.agent.says_soon,
          "another host uses --streams 3", 5)
    check("it ends", d.agent.ends)


def other_names(scene):
    """A host that exchanges nothing, because its name is another."""
    a, b = scene.two_hosts()
    a.make("web", 1)
    b.make("here", 1)
    check("both are sent", wait_until, 5, lambda: a.has_sent(1) and b.has_sent(1))
    for name in ("evil\nWARN a line of somebody else", "y" * 1000):
        scene.redis("XADD", stream(0, name), "*", "a", "b")
    d = scene.host("d")
    d.start_agent("--name", "nginx", tells=False)
    check("the names that there are are told", d.agent.says_soon,
          "under the name nginx; Redis has streams of web:", 5)
    check("but no key that is no name", same, [], d.agent.lines("somebody else|yyy|evil"))
    check("it ends", d.agent.ends)
    b.start_agent()
    check("b connects", b.agent.says_soon, "connected to Redis")
    check("who is not alone says nothing", same, [], b.agent.lines("under the name"))
    scene.end_agents()


def once(scene):
    a, b = scene.two_hosts()
    scene.end_agents()
    a.make("once", 5)
    b.make("twice", 5)
    for host in (a, b, a):
        check(f"{host.name} sends and takes over", run_once, scene, host)
    check("of a at b", b.resumes, "once", 5)
    check("of b at a", a.resumes, "twice", 5)


def run_once(scene, host, *options, redis=None, env=None):
    """An agent that ends when it has sent and taken over what there is; True if with 0."""
    run(scene.command, "agent", "--once", "--store", f"file:{host.store}", "--redis",
        redis or f"unix://{scene.work}/redis.sock", *options, seconds=10, env=env)
    return True
