#!/usr/bin/env python3
"""Servers as Debian ships them, on a machine that systemd has booted: `sesscache enable` and `disable`. By
hand, as root: the images take minutes and a gigabyte.

    tests/operators/run.py [bookworm-nginx...]

  OPERATORS_CACHE    the folder of the images (/var/cache/sesscache-operators)
  MIRROR             where they come from (http://deb.debian.org/debian)
  LIBDIR, SESSCACHE_BIN   the library and the command, if not those of target/release

Each server first goes on stock through a reload, a restart and, if it is nginx, an upgrade of its binary.
Then it is enabled and goes through the same: 20 of 20 sessions resume each time, each in its first offer.
`enable` a second time changes nothing. After `disable` and a restart the machine's files are as before, and
no process has the library.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import built, tls, verdicts
from harness.verdicts import check, happens, same, wait_until
from operators.machine import Machine, must_be_possible
from operators.services import SERVICES

RELEASES = ("bookworm", "trixie")
COUNT = 20


@dataclass
class Prepared:
    client: tls.Client
    library: Path
    command: Path


def prepare(folder):
    must_be_possible()
    return Prepared(tls.build_client(folder), built.copy_library(folder), built.copy_command(folder))


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
    machine.put(prepared.library, "/usr/local/lib/libsesscache.so.0", 0o755)
    machine.put(prepared.command, "/usr/local/bin/sesscache", 0o755)
    machine.boot()
    try:
        go_through(Enabled(service, machine, prepared.client), machine)
    finally:
        machine.off()


def go_through(server, machine):
    service = server.service
    # Debian starts them all, and two want port 80.
    machine.do("systemctl", "stop", *(other.unit for other in SERVICES))
    machine.do("sh", "-euc", service.setup)
    server.restart()
    stock = server.counts()
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

    said = machine.do("sesscache", "disable", service.name)
    server.take(said)
    # Until its restart the server may have made its store again.
    machine.do("sesscache", "disable", service.name)
    check("no process has the library", same, [], server.have_library())
    after = machine.tree()
    check("no file is gone or was changed", same, [], sorted(set(before) - set(after)))
    check("no file is left", same, [], sorted(set(after) - set(before)))


def parts():
    for release in RELEASES:
        for service in SERVICES:
            yield f"{release}-{service.name}", (
                lambda prepared, work, release=release, service=service:
                part(release, service, prepared, work))


if __name__ == "__main__":
    verdicts.main("test-operators", dict(parts()), prepare=prepare,
                  again="tests/operators/run.py", most_seconds=600,
                  settings=(*built.SETTINGS, "OPERATORS_CACHE", "MIRROR"))
