"""`sesscache stats` on real servers: which connections resumed, and how or why not."""

from harness import tls
from harness.packages import need
from harness.verdicts import check, same, wait_until

_NAMES = {"cache", "callback", "store", "other_host", "own_ticket", "shared_ticket", "server_ticket",
          "no_offer", "unknown", "expired", "removed", "refused"}


def connections(scene):
    """Each connection is counted once, by what became of its offer."""
    client = tls.build_client(scene.work)
    ids = client.of(protocol="1.2")
    tickets, tls13 = (client.of(protocol=version, tickets=True) for version in ("1.2", "1.3"))
    kept = {name: scene.work / name for name in ("ids", "tickets", "tls13")}

    first = scene.s_server("-no_ticket", env=scene.library())
    ids.save(first, kept["ids"], 3)
    counts(scene, "new clients offer nothing", no_offer=3)
    check("they come back", same, 3, ids.offer(first, kept["ids"], 3))
    counts(scene, "and resume from the cache", cache=3)
    scene.servers[first].kill()

    second = scene.s_server("-no_ticket", env=scene.library())
    check("they come back to another process", same, 3, ids.offer(second, kept["ids"], 3))
    counts(scene, "and resume from the store", store=3)
    check("again", same, 3, ids.offer(second, kept["ids"], 3))
    counts(scene, "then from the cache", cache=3)
    scene.servers[second].kill()

    third = scene.s_server(env=scene.library())
    for what, one in (("tickets", tickets), ("tls13", tls13)):
        one.save(third, kept[what], 2)
        counts(scene, f"{what}: new clients", no_offer=2)
        check(f"{what}: they come back", same, 2, one.offer(third, kept[what], 2))
        counts(scene, f"{what}: by their own tickets", own_ticket=2)
    scene.servers[third].kill()

    fourth = scene.s_server(env=scene.library())
    for what, one in (("tickets", tickets), ("tls13", tls13)):
        one.save(fourth, kept[what], 2)
        moved(scene)
        other = scene.s_server(env=scene.library())
        check(f"{what}: they come to another process", same, 2, one.offer(other, kept[what], 2))
        counts(scene, f"{what}: by shared tickets", shared_ticket=2)
        scene.servers[other].kill()

    other_key = scene.work / "other.key"
    tls.make_key_file(other_key)
    stranger = scene.s_server(env=scene.library() | {"SESSCACHE_KEY_FILE": str(other_key)})
    check("no ticket opens under another key", same, 0, tickets.offer(stranger, kept["tickets"], 2))
    counts(scene, "which is unknown", unknown=2)
    check("no record either", same, 0, ids.offer(stranger, kept["ids"], 3))
    counts(scene, "which is refused", refused=3)

    status, found = scene.asks_json("stats", str(scene.work / "store"))
    total = sum(found["connections"].values())
    check("the share is of all", same, round(17 / total, 4), found["resumed_share"])
    aged = sum(row["resumed"] for row in found["ages"])
    check("each that resumed has an age", same, (0, 17, None),
          (status, aged, found["ages"][-1]["up_to_seconds"]))
    _, printed, _ = scene.asks("stats", str(scene.work / "store"))
    check("the table has it all", lambda: all(f"    {name} " in printed for name in _NAMES) and
          "up to 1m" in printed)


def connections_nginx(scene):
    """nginx's connections count, too; its own cache is ours."""
    need("nginx", "nginx-light", "nginx")
    port = scene.nginx(env=scene.library())
    scene.asks("probe", "--way", "tls1.2-id", "--count", "20", f"127.0.0.1:{port}")
    wait_until(5, lambda: same(21, sum(moved(scene, peek=True).values())))
    found = moved(scene)
    check("20 of 21 resumed", same, (20, 1), (found["cache"] + found["store"], found["no_offer"]))


_BEFORE = {}


def moved(scene, peek=False):
    """What each count has grown by since this was asked."""
    _, found = scene.asks_json("stats", str(scene.work / "store"))
    now, before = found["connections"], _BEFORE.get(scene.work, {})
    if not peek:
        _BEFORE[scene.work] = now
    return {name: now[name] - before.get(name, 0) for name in now}


def counts(scene, what, **expected):
    """These have grown by as much, and nothing else. The server may be about to count the last."""
    wanted = dict.fromkeys(_NAMES, 0) | expected
    check(what, wait_until, 5, lambda: same(wanted, moved(scene, peek=True)))
    moved(scene)
