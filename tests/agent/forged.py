"""Entries that no host has written: they are skipped, counted, and let nobody in."""

from harness.verdicts import at_least, at_most, check, same, wait_until

from . import forger


def junk(scene):
    a, b = scene.two_hosts()
    a.make("grain", 10)
    wait_until(5, b.has_received, 10)
    before = b.agent.figure("replication_poison_entries_total")
    count = forger.junk(scene.redis)
    check("junk is skipped and counted", wait_until, 5, b.agent.shows,
          "replication_poison_entries_total", before + count)
    a.make("wheat", 10)
    check("what comes behind it arrives", wait_until, 5, b.resumes, "wheat", 10)
    for change in forger.FORGERIES:
        none_resumes(scene, a, b, change)
    check("they did not open", at_least, 18,
          b.agent.figure('store_lookups_total{result="undecryptable"}'))


def none_resumes(scene, a, b, change):
    """The sessions are new to b, because nobody can forge those that its process has looked up."""
    how = f"forged by {change.__name__}"
    before = b.received()
    a.make("target", 6)
    check("they arrive", wait_until, 5, b.has_received, before + 6)
    count = forger.forge(scene.redis, change)
    check(f"{how}: taken over", wait_until, 5, b.has_received, before + 6 + count)
    check(f"{how}: none resumes, all connect", lambda: same(0, b.resumed("target", 6)))
    a.make("target", 6)
    check(f"{how}: new ones resume", wait_until, 5, b.resumes, "target", 6)


def flood(scene):
    a, b = scene.two_hosts()
    a.make("flood", 1)
    wait_until(5, a.has_sent, 1)
    b.start_agent()
    check("b connects", b.agent.says_soon, "connected to Redis")
    before = b.received()
    count = forger.numbers(scene.redis, 300)
    check("what others say of their number of streams is read", wait_until, 5,
          b.has_received, before + count)
    check("and told in one line", same, 1, len(b.agent.lines("another host uses")))
    check("which is all there is", at_most, 10, len(b.agent.log().splitlines()))
