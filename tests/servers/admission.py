"""Whoever is let in no more is let in by no session, either: seven servers from Debian's packages,
on stock, and with a store and shared tickets. The table of rules is admission_rules.py.

Sessions are made and offered in each way to carry them: TLS 1.2 and 1.3, by id and in a ticket. The
stages, between which the server is stopped and started, if not said otherwise:

  now      the session is offered where it was made: it resumes at least where it does on stock
  same     a start that changes nothing
  reload   every rule is changed, and the server told to read its configuration
  restart  and started again

The client whose standing changes comes first after each start. It comes once more after the others,
because by then each name has been learned. All offer the sessions that were made at the beginning.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby, product

from harness.authority import Authority, hashed_folder, make_self_signed
from harness.tls import make_certificate
from harness.verdicts import Skipped, fail, note_skip, passed

from . import admission_rules as rules
from .admission_rules import FULL, LET_IN, REFUSED, RESUMED, UNSEEN
from .admission_servers import (Apache, Dovecot, Haproxy, Mosquitto, Nginx, Node, Port, Stunnel)
from .ways import Course, chosen

WAYS = ("stock", "store")
USERS = ("alice", "bob")  # of pre-shared keys
STAGES = ("now", "same", "reload", "restart")
SETUPS = {
    "nginx, its own id context": (Nginx, rules.NGINX_ALONE, {}),
    "nginx, our id context": (Nginx, rules.NGINX, {"SESSCACHE_ID_CONTEXT": "ours"}),
    "haproxy": (Haproxy, rules.HAPROXY, {}),
    "haproxy, our id context": (Haproxy, rules.HAPROXY_OURS, {"SESSCACHE_ID_CONTEXT": "ours"}),
    "apache2": (Apache, rules.APACHE, {}),
    "apache2, no client certificates": (Apache, rules.APACHE_NEVER,
                                        {"SESSCACHE_CLIENT_CERTS": "never"}),
    # As `sesscache run` has it, but where a service has `redirect`. That is a part of its own.
    "stunnel4": (Stunnel, rules.STUNNEL, {"SESSCACHE_EX_DATA": "share"}),
    "dovecot": (Dovecot, rules.DOVECOT, {}),
    "mosquitto": (Mosquitto, rules.MOSQUITTO, {}),
    # Node sets certificates for each connection, so only a namespace tells whose sessions they are.
    "node": (Node, rules.NODE, {"SESSCACHE_NAMESPACE": "node"}),
}


def test(prepared, work):
    pki = work / "pki"
    make_clients(pki)
    for name in SETUPS:
        folder = work / name.replace(", ", "_").replace(" ", "_")
        folder.mkdir(mode=0o711)
        try:
            run_setup(name, prepared, folder, pki)
        except Skipped as reason:
            note_skip(f"{name}: {reason}")
        except AssertionError as error:
            fail(f"{name} ended early", str(error))


def make_clients(pki):
    """Clients, authorities, lists, and the server's certificates."""
    for folder in (pki, pki / "renewed"):
        folder.mkdir(mode=0o755)
        make_certificate(folder)
    clients, others = Authority(pki, "clients"), Authority(pki, "others")
    middle = clients.below("middle")
    clients.issue("good")
    revoked = clients.issue("revoked")
    clients.issue("weak", "rsa:1024")
    middle.issue("far")
    others.issue("moved")
    make_self_signed(pki, "stranger")
    none, one = clients.revocations("none.crl"), clients.revocations("one.crl", revoked)
    join(pki / "both_cas.pem", clients.certificate, others.certificate)
    join(pki / "chain.pem", clients.certificate, middle.certificate)
    join(pki / "ca_none.crl", clients.certificate, none)
    join(pki / "ca_one.crl", clients.certificate, one)
    hashed_folder(pki / "cas_before", clients.certificate, others.certificate)
    hashed_folder(pki / "cas_after", clients.certificate)
    hashed_folder(pki / "crls_before", none)
    hashed_folder(pki / "crls_after", one)
    secrets = [f"{name}:{shared_key(name)}\n" for name in USERS]
    for file, lines in (("both.psk", secrets), ("alice.psk", secrets[:1])):
        (pki / file).touch(mode=0o600)
        (pki / file).write_text("".join(lines))


def join(file, *files):
    file.write_text("".join(each.read_text() for each in files))


def shared_key(name):
    return sha256(name.encode()).hexdigest()


# --- a setup ------------------------------------------------------------------------------------

def run_setup(name, prepared, work, pki):
    kind, table, env = SETUPS[name]
    facts = kind.prepare(work)
    if "SESSCACHE_ID_CONTEXT" not in env:
        table = kind.as_it_is_here(table, prepared, work, pki)
    ports = [Port(rule, tickets, name) for rule in table for tickets in (False, True)]
    seen = {}
    for way in chosen(prepared.library, WAYS):
        server = kind(ports, way, prepared, work, pki, facts)
        if way == "store":
            server.env |= env
        stages = Stages(server)
        Course(server).go(stages.go)
        seen[way] = stages.seen
    print(f"{name}: stock/with a store")
    judge(kind, table, seen)


class Stages:
    """seen: what the visits of a Visitor in a stage came to, by (visitor, stage)."""

    def __init__(self, server):
        self.server, self.seen = server, {}
        modes = [(port, protocol) for port in server.rows for protocol in port.rule.protocols]
        self.changing = [Visitor(port, protocol, is_other=False) for port, protocol in modes]
        self.others = [Visitor(port, protocol, is_other=True) for port, protocol in modes
                       if port.rule.other is not None]

    def go(self, _):
        server = self.server
        for visitor in self.changing + self.others:
            self._client(visitor).save(server.ports[visitor.port], self._file(visitor))
        self._visit("now", 1)
        self._start_again()
        self._visit("same", 2)
        server.rules_changed = True
        server.configure()
        server.reload()
        self._visit("reload", 2)
        self._start_again()
        self._visit("restart", 2)

    def _start_again(self):
        self.server.bring_down()
        self.server.configure()
        self.server.bring_up()

    def _visit(self, stage, count):
        """Of each other client so many visits in a row."""
        self.server.stage = stage
        for visitors, times in ((self.changing, 1), (self.others, count), (self.changing, 1)):
            for visitor in visitors:
                visits = self._client(visitor).tries(
                    self.server.ports[visitor.port], self._file(visitor), times)
                self.seen.setdefault((visitor, stage), []).extend(map(outcome, visits))
        self.server.check_health()

    def _client(self, visitor):
        name = visitor.name
        if self.server.rules_changed and not visitor.is_other and visitor.rule.shows is not None:
            name = visitor.rule.shows
        client = self.server.client_for("first.test").of(
            protocol=visitor.protocol, tickets=visitor.port.tickets)
        if name in USERS:
            return client.of(shared_key=f"{name}:{shared_key(name)}")
        return client.of(certificate=self.server.pki / f"{name}.pem") if name else client

    def _file(self, visitor):
        number = self.server.rows.index(visitor.port)
        who = "other" if visitor.is_other else "client"
        return self.server.dir / f"{number}-{visitor.protocol}-{who}.session"


@dataclass(frozen=True)
class Visitor:
    port: Port
    protocol: str
    is_other: bool

    @property
    def rule(self):
        return self.port.rule

    @property
    def name(self):
        return self.rule.other if self.is_other else self.rule.client

    def __str__(self):
        return (f"{self.port.setup}, {self.rule.name}, client {self.name or 'without certificate'},"
                f" TLS {self.protocol} {'in a ticket' if self.port.tickets else 'by id'}")


def outcome(visit):
    """(word, cipher). After "resumed-refused" the client was not even asked for a certificate."""
    how, cipher, answer = visit
    if answer == "-" or re.match(r"HTTP/1.\d [345]", answer):
        return (REFUSED if how == FULL else "resumed-refused"), cipher
    return how, cipher


# --- the table ----------------------------------------------------------------------------------

def judge(kind, table, seen):
    """Prints a line for each rule and client, and checks all that was seen. seen: by way."""
    first = next(iter(seen.values()))
    visitors = sorted({visitor for visitor, _ in first}, key=lambda each: (
        table.index(each.rule), each.is_other, each.port.tickets, each.protocol))
    wrong = []
    print_line("rule", "client", *STAGES)
    for (rule, is_other), group in groupby(visitors, lambda each: (each.rule, each.is_other)):
        group = list(group)
        print_line(rule.name, group[0].name or "-",
                   *(summary(group, stage, seen) for stage in STAGES))
        for visitor, stage, way in product(group, STAGES, seen):
            wrong += verdict(kind, visitor, stage, way, seen)
    for message in wrong:
        fail(message)


def print_line(*cells):
    print("%-24s %-8s  %-15s  %-15s  %-15s  %s" % cells, flush=True)


def summary(visitors, stage, seen):
    """What they came to at last, in all ways to carry sessions: stock/with a store."""
    of_ways = []
    for visits in seen.values():
        of_ways.append("+".join(sorted({visits[visitor, stage][-1][0] for visitor in visitors})))
    return "/".join(of_ways)


def verdict(kind, visitor, stage, way, seen):
    """Counts a good one; the text of another."""
    visits = seen[way][visitor, stage]
    words = [word for word, _ in visits]
    if stage == "now":
        wanted = [word for word, _ in seen.get("stock", seen[way])[visitor, stage]]
        good = all(ours in (stock, RESUMED if stock == FULL else stock)
                   for ours, stock in zip(words, wanted, strict=True))
    else:
        wanted = expected(kind, visitor, stage, way)
        if stage == "reload" and visitor.rule.reload_may_shut and is_shut(visitor, seen):
            wanted = REFUSED
        good = fits(wanted, words)
    cipher = visitor.rule.ciphers[is_changed(visitor.rule, stage)]
    if good and all(cipher in used for _, used in visits):
        passed()
    else:
        yield f"{visitor}, {stage}, {way}: {visits}, not {wanted} {cipher}"


def is_shut(visitor, seen):
    visits = seen.get("stock", next(iter(seen.values())))[visitor, "reload"]
    return all(word == REFUSED for word, _ in visits)


def is_changed(rule, stage):
    return stage == "restart" or stage == "reload" and rule.reload_knows


def fits(wanted, words):
    if wanted == RESUMED:  # a name may have to be learned first
        return words[-1] == RESUMED and set(words) <= {FULL, RESUMED}
    return set(words) <= ({FULL, RESUMED} if wanted == LET_IN else {wanted})


def expected(kind, visitor, stage, way):
    """The word for what visits come to."""
    rule = visitor.rule
    if is_changed(rule, stage):
        word = rule.others_then if visitor.is_other else rule.then
    else:
        word = rule.others_same if visitor.is_other else rule.same
    shared = way == "store" and visitor.port.tickets in kind.shares
    if word == LET_IN and visitor.protocol == "1.2":
        return FULL
    if word == UNSEEN:
        return RESUMED if shared else REFUSED
    return FULL if word == RESUMED and not shared else word
