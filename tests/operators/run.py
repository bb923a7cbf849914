#!/usr/bin/env python3
"""Servers as Debian ships them, on a machine that systemd has booted: our packages, `sesscache enable` and
`disable`. By hand, as root: the images take minutes and a gigabyte.

    tests/operators/run.py [bookworm-nginx...]

  OPERATORS_CACHE    the folder of the images (/var/cache/sesscache-operators)
  MIRROR             where they come from (http://deb.debian.org/debian)
  DEBS               the folder of our packages (target/deb)

Each server first goes on stock through a reload, a restart and, if it is nginx, an upgrade of its binary.
Then our packages are installed, it is enabled and goes through the same: 20 of 20 sessions resume each time,
each in its first offer, and once more while the packages are installed anew. `doctor` finds it well.
`enable` a second time changes nothing. After `disable` and a restart the machine's files are as before, and
no process has the library. Packages that are removed while a server is enabled disable it; purged, they
leave nothing.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import tls, verdicts
from harness.verdicts import Unusable, check, happens, same, wait_until
from operators.machine import Machine, must_be_possible
from operators.services import SERVICES

RELEASES = ("bookworm", "trixie")
COUNT = 20


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


class Enabled:
    """A server of a machine."""

    def __init__(self, service, machine, client):
        self.service, self.machine = service, machine
        self.client = client

    def clients(self):
        through = self.machine.through()
        for protocol, tickets in self.service.ways:
            way = f"TLS {protocol} {'ticket' if tickets else 'id'}"
            yield way, self.client.of(protocol=protocol, tickets=tickets, through=through,
                                      application=self.service.application)

    @property
    def file(self):
        return self.machine.folder / "sessions"

    def events(self):
        unit = self.service.unit
        yield "at rest", lambda: None
        yield "reload", lambda: self.machine.do("systemctl", "reload", unit)
        yield "restart", self.restart
        if self.service.upgrades:
            yield "upgrade", self.upgrade

    def restart(self):
        # systemd counts starts, and refuses the sixth in ten seconds.
        self.machine.do("systemctl", "reset-failed", self.service.unit, status=None)
        self.machine.do("systemctl", "restart", self.service.unit)

    def upgrade(self):
        """What the package's scripts do when it is installed anew."""
        main = self.machine.path("/run/nginx.pid")
        before = main.read_text()
        self.machine.do("/etc/init.d/nginx", "upgrade")
        wait_until(20, lambda: main.exists() and main.read_text() not in ("", before))

    def take(self, said):
        """The step that the command names in its last line."""
        self.machine.do("systemctl", "reset-failed", self.service.unit, status=None)
        self.machine.do("sh", "-euc", said.splitlines()[-1].removeprefix("next: "))

    def counts(self):
        """For each event and way, how many of COUNT sessions resume at their first offer after it."""
        found = {}
        for event, happen in self.events():
            for way, client in self.clients():
                try:
                    client.save(self.service.port, self.file, COUNT)
                    old = self.workers()
                    happen()
                    if event != "at rest":
                        happens(5, lambda: not old & self.workers())
                    wait_until(30, self.is_up_for, client)
                    found[event, way] = client.offer(self.service.port, self.file, COUNT)
                except AssertionError as error:
                    found[event, way] = str(error).strip().splitlines()[-1]
        return found

    def over(self, happen):
        """How many of COUNT sessions resume after something that ends no process, for each way."""
        found = []
        for _, client in self.clients():
            client.save(self.service.port, self.file, COUNT)
            happen()
            found.append(client.offer(self.service.port, self.file, COUNT))
        return found

    def workers(self):
        """The processes that serve, and end at a reload; the main one does not."""
        comm, main = self.service.serving, self.machine.do(
            "systemctl", "show", "-P", "MainPID", self.service.unit).strip()
        said = self.machine.do("pgrep", "-x", comm, status=None)
        return set(said.split()) - {main}

    def is_up_for(self, client):
        try:
            return client.save(self.service.port, f"{self.file}.probe", 1)
        except AssertionError:
            return False

    def have_library(self):
        """The names of the processes of this server that have the library."""
        said = self.machine.do("sh", "-c", "grep -l libsesscache /proc/[0-9]*/maps 2>/dev/null |"
                               " sed 's/maps/comm/' | xargs -r cat", status=None)
        return sorted(set(said.split()))


def told(counts):
    return {f"{event}, {way}": count for (event, way), count in counts.items()}


def part(release, service, prepared, work):
    machine = Machine(release, work)
    packages = [f"/root/{package.name}" for package in prepared.packages]
    for package, inside in zip(prepared.packages, packages):
        machine.put(package, inside)
    machine.boot()
    try:
        go_through(Enabled(service, machine, prepared.client), machine, packages)
    finally:
        machine.off()


def go_through(server, machine, packages):
    service = server.service
    # Debian starts them all, and two want port 80.
    machine.do("systemctl", "stop", *(other.unit for other in SERVICES))
    machine.do("sh", "-euc", service.setup)
    server.restart()
    stock = server.counts()
    bare = machine.tree()
    machine.do("dpkg", "--install", *packages)
    before = machine.tree()

    said = machine.do("sesscache", "enable", service.name)
    check("the last line says what is next", same,
          f"next: systemctl daemon-reload && systemctl restart {service.unit}",
          said.splitlines()[-1])
    server.take(said)
    enabled_tree = machine.tree()
    again = machine.do("sesscache", "enable", service.name)
    check("a second time changes nothing", same, [], sorted(set(machine.tree()) ^ set(enabled_tree)))
    check("and says so", same, f"{service.name} is enabled already", again.splitlines()[-1])

    ours = server.counts()
    for key in ours:
        print(f"{service.name}, {', '.join(key)}: {stock[key]} -> {ours[key]} of {COUNT}")
    check(f"all {COUNT} resume", same, {key: COUNT for key in told(ours)}, told(ours))
    check("its processes have the library", lambda: service.holds in server.have_library())
    print(machine.do("sesscache", "doctor", service.unit))  # which ends with 0
    check("sessions live through the packages' installation anew", same, [COUNT] * len(service.ways),
          server.over(lambda: machine.do("dpkg", "--install", *packages)))

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
        for service in SERVICES:
            yield f"{release}-{service.name}", (
                lambda prepared, work, release=release, service=service:
                part(release, service, prepared, work))


if __name__ == "__main__":
    verdicts.main("test-operators", dict(parts()), prepare=prepare,
                  again="tests/operators/run.py", most_seconds=600,
                  settings=("DEBS", "OPERATORS_CACHE", "MIRROR"))
