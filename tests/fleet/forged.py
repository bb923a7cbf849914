"""Somebody writes to Redis who should not. In every case no connection fails, nothing resumes but
the session that was offered, and the agents go on: at worst sessions are missed.

A connection that was resumed with another session's secret would fail, and be counted as such."""

from harness.verdicts import at_least, check, happens, same, wait_until

from .forger import Forger
from .host import BY_ID, KINDS, TRIES

IDS, STATEFUL = BY_ID
# The name in forger.py, whether sessions may resume on the other host, and a description.
NONE, ANY = "none", "any"
FORGERIES = (
    ("flipped", NONE, "a bit of the payload flipped"),
    ("extended", NONE, "deadline a day later"),
    ("moved", NONE, "another session's payload"),
    ("shortened", NONE, "payload shortened"),
    ("emptied", NONE, "no payload"),
    ("removed", NONE, "removed"),
    ("garbled", ANY, "a bit of the head flipped"),
    ("cut", ANY, "records cut off"),
    ("noise", ANY, "random bytes"),
    ("junk", ANY, "entries of other shapes"),
)
# The spoiled connections leave this in the log, as they should.
SPOILED = r"SSL_read\(\) failed .*bad record mac"


def forged(scene):
    scene.start_redis()
    a, b = scene.add_hosts("a", "b")
    print_row("sessions of a, forged in Redis", "kind", "forged", "on b", "undecryptable")
    for what, expected, description in FORGERIES:
        for kind in BY_ID:
            forge_sessions(scene, what, expected, f"{description}, {kind}", kind)
    check("agents count what makes no sense", lambda: at_least(
        1, b.agent.total("replication_poison_entries_total")))
    all_is_well(a, b, "after the forgeries")
    removed_stays_removed(scene, a, b)
    no_streams(scene, a, b)
    poison_ids(scene)
    all_is_well(a, b, "after ids of the far future")
    scene.redis("FLUSHALL")
    all_is_well(a, b, "after FLUSHALL, and ids of the present again")
    other_namespace(scene, a, b)
    scene.check_health(forgiven=SPOILED)


def print_row(description, kind, made, on_b, undecryptable):
    print(f"{description:32} {kind!s:14} {made:>6} {on_b:>6} {undecryptable:>15}")


def save_fresh(scene, host, kind, count):
    """(sessions of the host, the time since when they are made, in Redis's milliseconds). Nothing that is
    older comes to Redis after that time."""
    for each in scene.hosts.values():
        wait_until(10, each.agent.shows, "replication_unread_records", 0)
    seconds, micro = map(int, scene.redis("TIME"))
    return host.save(kind, count), seconds * 1000 + micro // 1000 + 1


def forge(scene, what, since, least):
    """Of the fresh sessions, as forger.py says; returns when the agents have read it."""
    marks = scene.work / "marks"
    with scene.redis.connection() as connection:
        forger = Forger(connection)
        forger.forge(what, since, least)
        count = forger.mark(marks)
    wait_until(10, marks_are_everywhere, scene, marks, count)


def marks_are_everywhere(scene, marks, count):
    load, a, b = scene.prepared.load, scene.hosts["a"], scene.hosts["b"]
    return same(f"held {count} missing 0", load.compare(a, b, marks))


def forge_sessions(scene, what, expected, said, kind):
    """Sessions of a are forged before b has seen a client with them."""
    a, b = scene.hosts["a"], scene.hosts["b"]
    # Two tickets a handshake, of which one is kept.
    made = TRIES if kind.protocol == "1.2" else 2 * TRIES
    sessions, since = save_fresh(scene, a, kind, TRIES)
    forge(scene, what, since, made)
    before = b.counted("undecryptable")
    on_b = b.offer(sessions)
    check(f"{said}: no connection fails", on_b != "error")
    check(f"{said}: none resumes on b", lambda: expected == ANY or same(0, on_b))
    check(f"{said}: no connection fails on a", a.offer(sessions) != "error")
    print_row(said.rpartition(", ")[0], kind, TRIES, on_b, b.counted("undecryptable") - before)


def all_is_well(a, b, after):
    for kind in BY_ID:
        check(f"{after}, {kind}: new sessions of a resume on b", wait_until, 10, b.resumes,
              a.save(kind, TRIES))


def removed_stays_removed(scene, a, b):
    """A fatal alert removes a session on every host, and writing its record again does not bring it
    back. (In TLS 1.3 the alert removes the session that the connection has just made, not the one
    that it resumed.)"""
    sessions, since = save_fresh(scene, a, IDS, 10)
    check("10 sessions of a resume on b", wait_until, 10, b.resumes, sessions, 10)
    a.spoil(sessions)
    check("removed by an alert on a: none resumes on a", a.resumes_none, sessions, 10)
    check("removed by an alert on a: none resumes on b", wait_until, 10, b.resumes_none, sessions,
          10)
    forge(scene, "repeated", since, 10)
    check("removed, then written again: none resumes on b", b.resumes_none, sessions, 10)
    b.reload_server()
    check("removed, then written again, b reloaded: none resumes on b", b.resumes_none, sessions,
          10)


def no_streams(scene, a, b):
    """Other keys stand where the streams were."""
    for key in scene.redis("KEYS", "sesscache:*"):
        scene.redis("DEL", key)
        scene.redis("SET", key, "not a stream")
    sessions = a.save(STATEFUL, TRIES)
    check("no streams where the streams were: a's sessions resume on a", a.resumes, sessions)
    scene.redis("FLUSHALL")
    check("no streams where the streams were, then FLUSHALL: what was made meanwhile resumes on b",
          wait_until, 10, b.resumes, sessions)


def poison_ids(scene):
    """An entry of the year 5138: the entries that come after it have ids from there too."""
    for key in scene.redis("KEYS", "sesscache:*"):
        scene.redis("XADD", key, "99999999999999-0", "hello", "world")


def other_namespace(scene, a, b):
    """A host that shares Redis and keys, but is another service."""
    c, = scene.add_hosts("c", environment={"SESSCACHE_NAMESPACE": "other"})
    for kind in KINDS:
        of_a, of_c = a.save(kind, TRIES), c.save(kind, TRIES)
        if not kind.in_tickets:
            happens(10, b.resumes, of_a)
        what = f"other namespace, {kind}"
        check(f"{what}: a's sessions resume on b", b.resumes, of_a)
        check(f"{what}: a's sessions do not resume on c", c.resumes_none, of_a)
        check(f"{what}: c's sessions do not resume on a", a.resumes_none, of_c)
        check(f"{what}: c's sessions resume on c", c.resumes, of_c)
