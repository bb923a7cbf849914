"""One session of a host, offered on others: on stock none of 50 connections resumes, with agents
all of them do. Two hosts first; the third comes later, and is warmed by what Redis has."""

from harness.verdicts import check, happens, same

from .host import KINDS, TRIES

PAIRS = ("ab", "ba", "ac", "bc", "ca", "cb")


def hosts(scene):
    _, on_stock = measure_two_and_three(scene, stock=True)
    scene.remove_hosts("stock")
    scene.start_redis()
    saved, with_agents = measure_two_and_three(scene, stock=False)
    print_table(on_stock, with_agents)
    print_reach(scene)
    check_own_after_reload(scene.hosts["a"], saved["a"])
    scene.check_health()


def measure_two_and_three(scene, stock):
    """The sessions, {host: {kind: sessions}}, and how many connections resumed on another host,
    {(pair, kind): count or "error"}."""
    saved, resumed = {}, {}

    def measure(pair):
        source, target = pair
        for kind, sessions in saved[source].items():
            if not stock:
                happens(10, scene.hosts[target].resumes, sessions, 1)
            resumed[pair, kind] = scene.hosts[target].offer(sessions)

    for host in scene.add_hosts("a", "b", stock=stock):
        saved[host.name] = save_all(host)
    measure("ab")
    measure("ba")
    # The sessions are older than the third host.
    c, = scene.add_hosts("c", stock=stock)
    measure("ac")
    measure("bc")
    saved["c"] = save_all(c)
    measure("ca")
    measure("cb")
    return saved, resumed


def save_all(host):
    return {kind: host.save(kind) for kind in KINDS}


def print_table(on_stock, with_agents):
    print(f"of {TRIES} connections on another host, resumed on stock/with agents:")
    print(f"{'':10}" + "".join(f"{kind!s:14}" for kind in KINDS))
    for pair in PAIRS:
        line = f"{' to '.join(pair):10}"
        for kind in KINDS:
            check(f"{kind}, {' '.join(pair)}: none resumes on stock", same, 0, on_stock[pair, kind])
            check(f"{kind}, {' '.join(pair)}: all resume with agents", same, TRIES,
                  with_agents[pair, kind])
            line += f"{on_stock[pair, kind]}/{with_agents[pair, kind]}".ljust(14)
        print(line)


def print_reach(scene):
    a, b = scene.hosts["a"], scene.hosts["b"]
    print("from the end of the first handshake on a until its session resumes on b, in ms (of 20):")
    for kind in KINDS:
        check(f"{kind}: sessions reach b", print_reach_of, kind, a, b)


def print_reach_of(kind, a, b):
    print(f"{kind!s:14}{a.client(kind).reach(a.place(kind), b.place(kind), 20)}")
    return True


def check_own_after_reload(a, saved):
    """The sessions are in the process before the reload, and not afterwards."""
    for kind, sessions in saved.items():
        a.reload_server()
        check(f"{kind}: after a reload a's session resumes on a", a.resumes, sessions)
