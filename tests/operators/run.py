#!/usr/bin/env python3
"""Servers as Debian ships them, on machines that systemd has booted: our packages, `sesscache enable` and
`disable`. The figures become docs/SERVERS.md. By hand, as root: the images take minutes and a gigabyte.

    tests/operators/run.py [bookworm-nginx...]

  OPERATORS_CACHE    the folder of the images (/var/cache/sesscache-operators)
  MIRROR             where they come from (http://deb.debian.org/debian)
  DEBS               the folder of our packages (target/deb)

Each server first goes on stock through a reload, a restart and, if it is nginx, an upgrade of its binary, and its
sessions are offered on another machine. Then our packages are installed, it is enabled and goes through the
same, with the key file and an agent on both machines: 20 of 20 sessions resume each time, each in its first
offer, and once more while the packages are installed anew. `doctor` finds it well. `enable` a second time
changes nothing. After `disable` and a restart the machine's files are as before, and
no process has the library. Packages that are removed while a server is enabled disable it; purged, they
leave nothing.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import network, processes, tls, verdicts
from harness.verdicts import Unusable, check, same, wait_until
from operators import page
from operators.enabled import COUNT, Server
from operators.machine import RELEASES, Machine, connect, must_be_possible
from operators import refused
from operators.further import FURTHER
from operators.services import SERVICES

AGENT = "sesscache-agent@{}"
AGENT_OPTIONS = "/etc/default/sesscache-agent"
REDIS = 6379  # its port, on a network of the test alone

DEBS = Path(os.environ.get("DEBS", Path(__file__).resolve().parents[2] / "target/deb"))


@dataclass
class Prepared:
    client: tls.Client
    packages: list


def prepare(folder):
    must_be_possible()
    packages = [next(DEBS.glob(f"{name}_*.deb"), None) for name in ("libsesscache0", "sesscache")]
    if None in packages:
        raise Unusable(f"no packages in {DEBS}: make deb")
    return Prepared(tls.build_client(folder), packages)


def told(counts):
    return {f"{event}, {way}": count for (event, way), count in counts.items()}


def part(release, service, prepared, work):
    machines = [Machine(release, service.kind, work, name) for name in ("first", "second")]
    packages = [f"/root/{package.name}" for package in prepared.packages]
    try:
        for machine in machines:
            for package, inside in zip(prepared.packages, packages):
                machine.put(package, inside)
            machine.boot()
        address, _ = connect(*machines)
        redis = start_redis(machines[0], address)
        servers = [Server(service, machine, prepared.client) for machine in machines]
        go_through(*servers, packages, f"redis://{address}:{redis}")
        page.write()
    finally:
        for machine in machines:
            machine.off()


def start_redis(machine, address):
    """On the machine's network; its port."""
    processes.start("redis-server", "--bind", address, "--port", REDIS, "--protected-mode", "no",
                    "--save", "", "--dir", machine.folder, log=machine.folder / "redis.log",
                    through=machine.through())
    wait_until(10, network.is_listening, REDIS, machine.leader)
    return REDIS


def go_through(server, other, packages, redis):
    service, machine = server.service, server.machine
    for each in (server, other):
        each.set_up([other for other in SERVICES + FURTHER if other.kind == service.kind])
    stock = server.counts(other, is_shared=False)
    bare = machine.tree()

    began = time.monotonic()
    machine.do("dpkg", "--install", *packages)
    before = machine.tree()
    said = machine.do("sesscache", "enable", service.name)
    check("the last line says what is next", same,
          f"next: systemctl daemon-reload && systemctl restart {service.unit}",
          said.splitlines()[-1])
    server.take(said)
    wait_until(30, server.is_listening)
    print(machine.do("sesscache", "doctor", service.name))  # which ends with 0
    seconds = time.monotonic() - began
    print(f"{service.name}: {seconds:.0f} s from the packages to a doctor that finds it well")
    enabled_tree = machine.tree()
    again = machine.do("sesscache", "enable", service.name)
    check("a second time changes nothing", same, [], sorted(set(machine.tree()) ^ set(enabled_tree)))
    check("and says so", same, f"{service.name} is enabled already", again.splitlines()[-1])

    join(server, other, packages, redis)
    check("the agent's first line is in the journal, with its priority and no time in it",
          says_in_the_journal, machine, AGENT.format(service.own))
    ours = server.counts(other, is_shared=True)
    unknown = {words: count for words, count in [*told(stock).items(), *told(ours).items()]
               if not isinstance(count, int)}
    if check("each event was measured", same, {}, unknown):
        page.note(server, stock, ours, seconds)
    for key in ours:
        print(f"{service.name}, {', '.join(key)}: {stock[key]} -> {ours[key]} of {COUNT}")
    if service.short:
        check("not all resume, as the reason says", set(ours.values()) != {COUNT})
    else:
        check(f"all {COUNT} resume", same, {key: COUNT for key in told(ours)}, told(ours))
    check("its processes have the library", lambda: service.holds in server.have_library())
    check("the doctor finds library and store in the processes that serve", doctor_is_content, server)
    if not service.short:
        check("sessions live through the packages' installation anew", same,
              [COUNT] * len(service.ways),
              server.over(lambda: machine.do("dpkg", "--install", *packages)))
    machine.do("systemctl", "stop", AGENT.format(service.own))
    machine.path(AGENT_OPTIONS).unlink()
    check_leaves_nothing(server, packages, before, bare)


def join(server, other, packages, redis):
    """The server on another host with the same key file, and an agent on each, as README says."""
    key = f"/etc/sesscache/{server.service.own}.key"
    other.machine.do("dpkg", "--install", *packages)
    other.machine.put(server.machine.path(key), key, mode=0o600)
    os.chown(other.machine.path(key), server.machine.path(key).stat().st_uid, 0)
    other.take(other.machine.do("sesscache", "enable", server.service.name))
    for machine in (server.machine, other.machine):
        machine.path(AGENT_OPTIONS).write_text(f"AGENT_OPTIONS=--redis {redis}\n")
        machine.do("systemctl", "start", AGENT.format(server.service.own))


def says_in_the_journal(machine, unit):
    lines = machine.do("journalctl", "--quiet", "--output=json", "--identifier=sesscache", "-u", unit)
    lines = [json.loads(line) for line in lines.splitlines()]
    found = [(line["PRIORITY"], line["MESSAGE"]) for line in lines]
    assert found and found[0][0] == "5" and found[0][1].startswith("following /run/"), found
    return True


def doctor_is_content(server):
    """While a client is connected: some servers start a program for each connection."""
    service, machine = server.service, server.machine
    more = ["-starttls", service.starttls] if service.starttls else []
    client = processes.start("openssl", "s_client", "-connect", f"127.0.0.1:{service.port}",
                             "-ign_eof", *more, log=machine.folder / "held.log",
                             through=machine.through())
    wait_until(20, lambda: "Verify return code" in client.log.read_text())
    found = json.loads(machine.do("sesscache", "doctor", "--json", service.name))
    client.kill()
    codes = {each["code"] for one in found["servers"] for each in one["findings"]}
    assert found["is_well"] and {"libssl", "library", "store"} <= codes, found
    return True


def check_leaves_nothing(server, packages, before, bare):
    """before: the files with the packages alone. bare: those without them."""
    service, machine = server.service, server.machine
    said = machine.do("sesscache", "disable", service.name)
    server.take(said)
    # Until its restart the server may have made its store again.
    machine.do("sesscache", "disable", service.name)
    check("no process has the library", same, [], server.have_library())
    after = machine.tree()
    check("no file is gone or was changed", same, [], sorted(set(before) - set(after)))
    check("no file is left", same, [], sorted(set(after) - set(before)))

    server.take(machine.do("sesscache", "enable", service.name))
    machine.do("dpkg", "--remove", "sesscache", "libsesscache0")
    server.restart()
    check("a removal disables the server", same, [], server.have_library())
    machine.do("dpkg", "--purge", "sesscache", "libsesscache0")
    check("a purge leaves nothing", same, [], sorted(set(bare) ^ set(machine.tree())))


def parts():
    for release in RELEASES:
        for service in SERVICES + FURTHER:
            yield f"{release}-{service.name}", (
                lambda prepared, work, release=release, service=service:
                part(release, service, prepared, work))
        yield f"{release}-refused", lambda prepared, work, release=release: refused.part(
            release, prepared.packages, work)


if __name__ == "__main__":
    verdicts.main("test-operators", dict(parts()), prepare=prepare,
                  again="tests/operators/run.py", most_seconds=1200,
                  settings=("DEBS", "OPERATORS_CACHE", "MIRROR"))
