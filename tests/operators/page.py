"""docs/SERVERS.md, written from the last results of each server, which stay beside the images."""

import json
import re

from harness.built import ROOT
from harness.run import run

from .enabled import COUNT, ELSEWHERE, version, way_of
from .machine import CACHE, RELEASES
from .further import FURTHER
from .services import SERVICES

PAGE = ROOT / "docs" / "SERVERS.md"
RESULTS = CACHE / "results.json"
# The events, and the words of their columns.
EVENTS = {"at rest": "across workers", "reload": "reload", "restart": "restart",
          "upgrade": "binary upgrade", ELSEWHERE: "other host"}
HEAD = f"""\
# Servers as Debian ships them

`make test-operators` measures this on machines that systemd has booted, and writes this page. The servers have
Debian's own configuration, with the TLS of Debian's self-made certificate turned on; services.py and further.py
of `tests/operators/` have the lines. Each was installed beside our packages, and then: `sesscache enable SERVER`, a restart.

A cell says how many of {COUNT} sessions resume on stock → with sesscache. Each session is made before the event
and offered once after it. A *mode* is the protocol, and whether the session lies in a ticket or the client
names an id. *Other host* is a second machine with the same key file, and an agent on both. A *binary upgrade*
is the one of the package's scripts (USR2), which only nginx has.

*Seconds* is the time from the beginning of `dpkg --install` to the end of a `sesscache doctor` that finds the
server well, on two cores that other work shared. An empty cell is an event that the server's unit does not have.
Clients of MariaDB show a certificate, because it asks each client for one. Puma, Gunicorn, PHP and hypnotoad have
no unit in Debian, and the test writes one.
"""


def note(server, stock, ours, seconds):
    """Keeps the counts of a server. The rest that is known stays."""
    found = _results()
    openssl = server.machine.do("openssl", "version").split()[1]
    found.setdefault(server.machine.release, {})[server.service.name] = {
        "version": version(server.machine, server.service.package), "openssl": openssl, "seconds": round(seconds),
        "commit": run("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip(),
        "counts": [[*key, stock[key], ours[key]] for key in ours]}
    RESULTS.write_text(json.dumps(found, indent=1))


def note_refusal(machine, server, package, reason):
    found = _results()
    refused = found.setdefault(f"{machine.release}-refused", {})
    refused[server] = [f"{server} {version(machine, package)}", reason]
    RESULTS.write_text(json.dumps(found, indent=1))


def _results():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def write():
    found = _results()
    lines = [HEAD]
    for release, title in RELEASES.items():
        if release in found:
            openssl = next(iter(found[release].values()))["openssl"]
            lines += [f"## {title}, OpenSSL {openssl}", "", *_table(found[release]), ""]
            lines += _shortfalls(found[release])
        if refused := found.get(f"{release}-refused"):
            lines += ["`sesscache enable` refuses, and says why:", "",
                      *(f"- {server}: {reason}" for server, reason in refused.values()), ""]
    PAGE.write_text("\n".join(lines).rstrip() + "\n")


def _shortfalls(known):
    lines = [f"- {service.name}: {service.short}" for service in FURTHER
             if service.short and service.name in known]
    return ["Not all resume:", "", *lines, ""] if lines else []


def _table(known):
    head = ["server", "mode", *EVENTS.values(), "seconds"]
    yield _line(head)
    yield _line(["---"] * len(head))
    for service in SERVICES + FURTHER:
        if service.name in known:
            yield from map(_line, _rows(service, known[service.name]))


def _line(cells):
    return re.sub(r" +$", "", "| " + " | ".join(cells) + " |")


def _rows(service, result):
    counts = {(event, way): f"{stock} → {ours}" for event, way, stock, ours in result["counts"]}
    first = f"{service.name} {result['version']}", str(result["seconds"])
    for protocol, tickets in service.ways:
        way = way_of(protocol, tickets)
        yield [first[0], way, *(counts.get((event, way), "") for event in EVENTS), first[1]]
        first = "", ""
