"""Entries so large that an answer comes in pieces, or not at all: the agent's memory is bounded."""

from harness.processes import most_memory_kib
from harness.verdicts import at_most, check, wait_until

from . import forger
from .scene import stream


def large(scene):
    a, b = scene.two_hosts()
    check("b connects", b.agent.says_soon, "connected to Redis")
    check("b ends", b.agent.ends)
    scene.redis("FLUSHALL")
    a.make("small", 1)
    wait_until(5, lambda: scene.stream_lengths() > 0)
    # Redis ends a connection whose answer is larger.
    scene.redis("CONFIG", "SET", "client-output-buffer-limit", "normal 300kb 0 0")
    count = forger.large(scene.redis, 10)
    b.start_agent()
    check("what does not come at once comes bit by bit", wait_until, 10, b.has_received, count)
    check("its memory", at_most, 32 << 10, most_memory_kib(b.agent.process.pid))
    too_large = scene.redis("XADD", stream(0), "*", "x", bytes(400_000))
    check("one that does not come at all is told", wait_until, 10,
          b.agent.state_is, "unreachable")
    scene.redis("XDEL", stream(0), too_large)
    check("without it all is well", wait_until, 15, b.agent.state_is, "ok")
    a.make("behind", 10)
    check("and goes on", wait_until, 5, b.resumes, "behind", 10)
    scene.redis("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
    check("b ends", b.agent.ends)
    count = forger.huge(scene.redis, 64)
    b.start_agent()
    check("what is too large is skipped", wait_until, 20, b.agent.shows,
          "replication_poison_entries_total", count)
    check("its memory, of answers of 16 MiB", at_most, 192 << 10,
          most_memory_kib(b.agent.process.pid))
