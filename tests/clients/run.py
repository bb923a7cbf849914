#!/usr/bin/env python3
"""Real TLS clients, each with its ordinary session cache: how many of ten new connections resume,
by nginx's log. In each mode (scene.py) on one host and on two in turn; on stock and on ours.

    tests/clients/run.py [CLIENT...]    the clients whose names are given; else all that are quick

No figure may be below stock's. Whoever offers a session at all resumes 9 of 10 on ours, unless the
client's entry in clients.py says how many, and why.

ALL=1 runs every client, and writes docs/CLIENTS.md if none was left out. LIBDIR or SESSCACHE_LIB,
and SESSCACHE_BIN, say where the library and the command are.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from clients import page
from clients.clients import CLIENTS
from clients.scene import HOSTS, MODES, OURS, STOCK, WORLDS, Scene, prepare
from harness import built, verdicts
from harness.run import result
from harness.verdicts import check, same, wait_until

COUNT = 10
ALL = bool(os.environ.get("ALL"))
rows = []  # of the page


def part(client):
    """Runs one client in all modes."""
    def run_client(prepared, work):
        program = client.build(work)
        scene = Scene(prepared, work)
        figures = {(mode, hosts): measure(scene, client, program, mode, hosts)
                   for mode in MODES for hosts in HOSTS}
        row = page.Row(client, client.version(), figures)
        rows.append(row)
        print(f"   {row.version}: {row.brief()}")
    return run_client


def measure(scene, client, program, mode, hosts):
    """Of ten connections, so many resumed on stock and on ours; None if it cannot connect."""
    if client.cannot.get(mode):
        return None
    with ThreadPoolExecutor() as pool:
        found = dict(zip(WORLDS, pool.map(
            lambda world: resumed(scene, client, program, world, mode, hosts), WORLDS)))
    where = f"{mode}, {hosts}"
    check(f"{where}: no less than stock", no_less, found[STOCK], found[OURS])
    check(f"{where}: as often as it can", same_or_more, client.expected(mode), found[OURS])
    return found[STOCK], found[OURS]


def resumed(scene, client, program, world, mode, hosts):
    path = f"/{mode}/{hosts}".replace(" ", "_")
    balancer = scene.balancer(world, mode, hosts)
    try:
        done = result(*program, f"https://localhost:{balancer.port}{path}", COUNT,
                      scene.files / "ca.pem", seconds=60, env=client.environment(scene.files))
        assert done.returncode == 0, \
            f"{client.name} on {world} ended with {done.returncode}: {done.stderr}"
        wait_until(5, all_logged, scene, world, path)
    finally:
        balancer.close()
    connections = scene.connections(world, path)
    protocols = {protocol for protocol, _ in connections}
    wanted = {"1.2": {"TLSv1.2"}, "1.3": {"TLSv1.3"}}.get(mode[:3])
    assert wanted in (None, protocols), f"{mode}: {protocols}"
    return sum(resumed for _, resumed in connections)


def all_logged(scene, world, path):
    return same(COUNT, len(scene.connections(world, path)))


def no_less(stock, ours):
    assert ours >= stock, f"{stock} on stock, {ours} on ours"
    return True


def same_or_more(expected, ours):
    """0 is exact, so that a reason why a client resumes nothing is struck out once it does."""
    assert ours >= expected if expected else ours == 0, f"expected {expected}, found {ours}"
    return True


def main():
    chosen = {each.name: part(each) for each in CLIENTS if ALL or each.quick}
    named = {each.name: part(each) for each in CLIENTS if each.name in sys.argv[1:]}
    try:
        verdicts.main("test-clients", chosen | named, prepare=prepare,
                      again="tests/clients/run.py", settings=(*built.SETTINGS, "ALL"))
    finally:
        if ALL and len(rows) == len(CLIENTS) and not verdicts.counts.failed:
            page.write(rows)


if __name__ == "__main__":
    main()
