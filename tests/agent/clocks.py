"""Entries leave the streams by age; and hosts whose clocks are wrong."""

import os
import signal
import time

from harness.packages import need
from harness.verdicts import at_least, at_most, check, same, wait_until

from .outages import SENT_AGAIN
from .scene import STREAMS, stream

RETENTION = 10  # seconds, the least that an agent takes
SENT_ENTRIES = "replication_sent_entries_total"
EXPIRED = 'replication_unapplied_records_total{cause="expired"}'


def retention(scene):
    brief = ("--retention", f"{RETENTION}s")
    a, b = scene.two_hosts(*brief)
    c = scene.host("c")
    c.start_agent(*brief, tells=False)
    check("c connects", c.agent.says_soon, "connected to Redis")
    a.make("first", 5)
    check("what is new arrives", wait_until, 5, c.resumes, "first", 5)
    check("c goes away", c.agent.ends)
    before = a.agent.figure(SENT_AGAIN)
    a.make("old", 10)
    # One at a time: an entry each, because a busy store has many in one.
    for _ in range(90):
        a.make("more", 1)
    check("b has the oldest of it", wait_until, 5, b.resumes, "old", 10)
    wait_until(5, a.has_sent, 105)
    length = scene.stream_lengths()
    check("it is in the streams", at_least, 80, length)
    check("and none has left", same, a.agent.figure(SENT_ENTRIES), length)
    wait_until(2 * RETENTION,
               lambda: all(age > RETENTION + 0.5 for each in ages(scene) for age in each))
    a.make("young", 20)
    check("b has what is new", wait_until, 5, b.resumes, "young", 20)
    # A stream is trimmed when it gets something.
    while not all(min(each, default=0) < RETENTION for each in ages(scene)):
        a.make("more", 1)
    # Redis drops whole nodes of its own, here of 8 entries or so.
    check("what is older than the retention has left", at_most, length - 50,
          sum(age > RETENTION for each in ages(scene) for age in each))
    c.start_agent(*brief)
    check("who was away for longer has what there is", wait_until, 5, c.resumes, "young", 20)
    check("and not what was dropped", at_most, 5, c.resumed("old", 10))
    check("which it says, once", same, 1,
          len(c.agent.lines("were not read for [0-9]+ s, longer")))
    check("and counts", c.agent.shows_least, "replication_gaps_total", 1)
    check("who listened all the time missed nothing", b.agent.shows, "replication_gaps_total", 0)
    check("and nobody takes age for loss", a.agent.shows, SENT_AGAIN, before)
    b.start_agent(*brief)
    check("b connects", b.agent.says_soon, "connected to Redis")
    a.make("last", 1)
    check("who was away for a moment goes on", wait_until, 5, b.resumes, "last", 1)
    check("and missed nothing", b.agent.shows, "replication_gaps_total", 0)
    check("c ends", c.agent.ends)
    scene.end_agents()


def ages(scene):
    """For each stream, how many seconds old its entries are, by the clock that gave them ids."""
    seconds, micros = map(int, scene.redis("TIME"))
    now = seconds + micros / 1e6
    return [[now - int(entry.split(b"-")[0]) / 1000
             for entry, _ in scene.redis("XRANGE", stream(number), "-", "+")] for number in STREAMS]


class Clock:
    """The time of processes that have libfaketime and this environment."""

    def __init__(self, scene, library):
        self.file = scene.work / "clock"
        self.library = library
        self.environment = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1",
                            "FAKETIME_TIMESTAMP_FILE": str(self.file)}
        self.shows("+0")

    def shows(self, offset):
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        os.replace(new, self.file)


def clocks(scene):
    """d has a clock of its own."""
    clock = Clock(scene, need("/usr/lib/*/faketime/libfaketime.so.1", "libfaketime"))
    scene.start_redis()
    a = scene.host("a")
    a.start_agent()
    preloaded = f"{scene.prepared.library}:{clock.library}"
    d = scene.host("d", LD_PRELOAD=preloaded, **clock.environment)
    d.start_agent(env={"LD_PRELOAD": clock.library, **clock.environment})
    check("d connects", d.agent.says_soon, "connected to Redis")
    a.make("right", 60)
    check("with clocks that agree all resume", wait_until, 10, d.resumes, "right", 10)
    check("the difference is measured", skew_is, d, 0)
    ahead(scene, a, d, clock)
    clock.shows("+0")
    check("that it is right again is told", d.agent.says_soon, "Redis agree again", 5)
    behind(a, d, clock)
    check("d ends", d.agent.ends)
    check("its server ends", lambda: same(-signal.SIGTERM, d.server.end()))
    scene.end_agents()


YEAR = 365 * 24 * 3600


def redis_clock_ahead(scene):
    """Redis's clock was a year ahead for a moment: all later ids are, because they never go back.

    An entry with such an id stands for that moment."""
    options = ("--retention", f"{RETENTION}s", "--streams", "1")
    a, b = scene.two_hosts(*options)
    a.make("before", 60)
    check("before, all arrive", wait_until, 10, b.resumes, "before", 60)
    moment = scene.redis("XADD", stream(0), f"{int((time.time() + YEAR) * 1000)}-0", "a", "b")
    a.make("then", 20)
    check("and then", wait_until, 5, b.resumes, "then", 20)
    check("with ids of next year", newest(scene) > YEAR / 2)
    check("that the ids are ahead is told", a.agent.says_soon,
          r"the ids of the streams are 315[0-9]{5} s ahead of Redis's clock", 5)
    b.start_agent(*options)
    check("b connects", b.agent.says_soon, "connected to Redis")
    a.make("later", 60)
    check("what is new arrives", wait_until, 5, b.resumes, "later", 60)
    check("nothing has left yet", wait_until, 5,
          lambda: same(a.agent.figure(SENT_ENTRIES) + 1, scene.redis("XLEN", stream(0))))
    # A stream is trimmed when it gets something, by whole nodes of some entries.
    check("what is older than the retention leaves", wait_until, 3 * RETENTION,
          lambda: a.make("more", 1) and same([], scene.redis("XRANGE", stream(0), moment, moment)))
    check("what is younger stays", at_least, 50, scene.redis("XLEN", stream(0)))
    check("nobody takes age for loss", a.agent.shows, SENT_AGAIN, 0)
    check("nor for a gap", b.agent.shows, "replication_gaps_total", 0)
    check("it is told once", same, 1, len(a.agent.lines("ids of the streams")))
    scene.redis("FLUSHALL")
    check("an emptied stream gets everything", wait_until, 5,
          lambda: at_least(1, scene.redis("XLEN", stream(0))))
    check("with ids of now", lambda: newest(scene) < YEAR / 2)
    check("that was sent again once", a.agent.shows, SENT_AGAIN, 1)
    scene.end_agents()


def newest(scene):
    """How many seconds the id of the newest entry is ahead of the true time."""
    (entry, _), = scene.redis("XREVRANGE", stream(0), "+", "-", "COUNT", "1")
    return int(entry.split(b"-")[0]) / 1000 - time.time()


def ahead(scene, a, d, clock):
    length, sent = scene.stream_lengths(), d.agent.figure(SENT_ENTRIES)
    clock.shows("+3h")
    d.make("jump", 10)
    wait_until(5, lambda: at_least(sent + 1, d.agent.figure(SENT_ENTRIES)))
    check("a clock that jumps ahead drops nothing", wait_until, 5,
          lambda: same(length - sent + d.agent.figure(SENT_ENTRIES), scene.stream_lengths()))
    check("what it makes resumes", wait_until, 5, a.resumes, "jump", 10)
    check("it comes from the future", wait_until, 5, a.agent.shows_least,
          "replication_future_records_total", 10)
    check("the difference is measured, ahead", wait_until, 5, skew_is, d, -10800)
    scene.redis("CLIENT", "KILL", "TYPE", "normal")
    check("it reconnects", wait_until, 5, d.agent.shows, "redis_reconnects_total", 5)
    check("and told, once", same, 1,
          len(d.agent.lines(r"is 10800\.[0-9] s ahead of that of Redis")))
    a.make("short", 5)
    check("ends are absolute: by its clock they are over", wait_until, 5,
          d.agent.shows, EXPIRED, 5)


def behind(a, d, clock):
    clock.shows("-3h")
    check("the difference is measured, behind", wait_until, 5, skew_is, d, 10800)
    check("and told", same, 1,
          len(d.agent.lines(r"is 10800\.[0-9] s behind that of Redis")))
    check("twice in all", same, 2, len(d.agent.lines("set the clocks right")))
    a.make("long", 5)
    check("by its clock all others have time", wait_until, 5, d.resumes, "long", 5)
    d.make("late", 5)
    check("what it makes is over elsewhere", wait_until, 5, a.agent.shows, EXPIRED, 5)


def skew_is(host, seconds):
    found = host.agent.figure("redis_clock_skew_seconds")
    assert abs(found - seconds) < 1, f"it is {found} s"
    return True
