"""docs/CLIENTS.md: the figures of a run over all clients, and what their users can set."""

from dataclasses import dataclass

from harness.built import ROOT
from harness.run import run

from .scene import HOSTS, MODES

PAGE = ROOT / "docs" / "CLIENTS.md"
HEAD = """\
# Clients

The tables say how many of ten new connections each client resumes with its ordinary session cache,
on stock → on ours. nginx's log counts them; here it is {nginx} on {system}.
`make test-clients-all` measures and writes this page. `make test-clients` runs the quick clients.
Both fail if a figure is below stock's.

Each host has two workers. On ours, a host has a store and an agent besides, and both hosts share a
key file and a Redis. A balancer gives the hosts connections in turn.

| mode | nginx's settings |
|---|---|
"""
USERS = """
## Settings for users

| client | setting |
|---|---|
"""
FEWER = """
## Why some resume less

| client | mode | reason |
|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    client: object
    version: str
    figures: dict  # by (mode, hosts): (on stock, on ours) of ten, or None

    def brief(self):
        return "; ".join(f"{hosts}: " + ", ".join(self.cells(hosts)) for hosts in HOSTS)

    def cells(self, hosts):
        figures = (self.figures[mode, hosts] for mode in MODES)
        return ["–" if each is None else "{} → {}".format(*each) for each in figures]

    def reasons(self):
        """(modes, reason): each reason once."""
        modes = {}
        for mode, why in self.client.whys().items():
            modes.setdefault(why, []).append(mode)
        return [(", ".join(each), why) for why, each in modes.items()]


def write(rows):
    text = HEAD.format(nginx=_nginx(), system=_system())
    for mode, settings in MODES.items():
        text += f"| {mode} | `{settings.format(zone='NAME')}` |\n"
    for hosts in HOSTS:
        text += f"\n## {hosts.capitalize()}\n\n{_line('client', 'version', *MODES)}"
        text += "|---" * (2 + len(MODES)) + "|\n"
        for row in rows:
            text += _line(row.client.title, row.version, *row.cells(hosts))
    text += USERS + "".join(_line(row.client.title, row.client.user) for row in rows)
    text += FEWER + "".join(_line(row.client.title, *reason) for row in rows
                            for reason in row.reasons())
    PAGE.write_text(text)


def _line(*cells):
    return "| " + " | ".join(cells) + " |\n"


def _nginx():
    return run("nginx", "-v").strip().rpartition(": ")[2].replace("/", " ")


def _system():
    lines = dict(line.split("=", 1) for line in open("/etc/os-release") if "=" in line)
    return lines["PRETTY_NAME"].strip().strip('"')
