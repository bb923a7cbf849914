"""Servers with ticket keys of their own, and a client that uses each ticket once (RFC 8446, C.4).

Ten connections are made, of which each offers the newest ticket that none has offered. On stock:
- A key callback that answers 1 lets libssl send no ticket on resumption: every other connection
  resumes, 5.
- nginx answers 2 in TLS 1.3, and its client resumes 9.

HAProxy has its keys from a file. lighttpd, Postfix and Node draw some at each start, and the first
two at each reload too. nginx has them in its zone of sessions since 1.23.2, which outlives a
reload. A ticket that was kept resumes as long as they last.

Apache has a file, too, but takes the key of the HMAC from its stack: mod_ssl hands libcrypto a
pointer to a buffer that is gone. After a reload or a restart the tickets resume if the same bytes
lie there again. With 2.4.67 all did, with 2.4.71 none, on stock.

Preloaded without a key file, the application's keys win. In TLS 1.3 each resumption brings a
ticket.

With a store, the server is started by `sesscache run`. It puts the key file's keys first, except
at HAProxy and Apache, which were given theirs. Such tickets outlive everything.

In TLS 1.2 OpenSSL's client, which is ours here, gets no new ticket, because it would resume less
with it: 5 in each way. The C test ticket_renewal_keys has the others.
"""

import re
import secrets
from dataclasses import dataclass
from itertools import product

from harness import built, quic
from harness.packages import need, need_root
from harness.quic import QuicClient
from harness.run import run
from harness.tls import make_certificate
from harness.verdicts import Skipped, check, note_skip, same

from . import apache2, haproxy, lighttpd, nginx, postfix
from .admission_servers import Node as AdmittingNode
from .server import AS_DEBIAN_DOES, Server, print_version
from .ways import PROTOCOLS, WAYS, Course, chosen, table_row

TRIES = 20  # connections that offer one ticket
ONCE = 10   # connections that use each ticket once
STAGES = ("reload", "restart")


@dataclass(frozen=True)
class Row:
    """A server, and its expected figures in each way: how many of ten resume that use each ticket
    once; whether all of the tries resume after a reload, and a restart. Luck is not judged."""

    setup: str
    kind: type
    once_1_2: str
    once_1_3: str
    reload: str
    restart: str
    config: str = "tickets"

    def expected(self, stage, protocol, way):
        at = WAYS.index(way)
        if stage == "once":
            return (self.once_1_2 if protocol == "1.2" else self.once_1_3).split()[at]
        word = getattr(self, stage).split()[at]
        return None if word == "luck" else str({"all": TRIES, "none": 0}[word])


class Keyed:
    """What such a server is, besides its own class."""

    overridden = True  # `sesscache run` puts our keys before its own
    protocols = PROTOCOLS

    def __init__(self, rows, way, prepared, work, command):
        super().__init__(rows, way, prepared, work)
        self.command = command

    def client_of(self, protocol):
        if protocol == "quic":
            return QuicClient(self.dir, "first.test")
        return self.client_for("first.test").of(protocol=protocol, tickets=True)

    def start(self, *words, env=None):
        if self.way == "store":
            words = (self.command, "run", "--library", self.library, "--", *words)
        super().start(*words, env=env)

    def _env_of_way(self):
        env = super()._env_of_way()
        if self.way == "store":
            env.pop("LD_PRELOAD")
        return env

    def says_whose_keys_win(self):
        said = re.findall("^sesscache: SESSCACHE_TICKETS=override", self.output.read_text(), re.M)
        wanted = len(self.mains) if self.overridden and self.way == "store" else 0
        return same(wanted, len(said))


# --- the servers --------------------------------------------------------------------------------

class Haproxy(Keyed, haproxy.Haproxy):
    overridden = False

    def configure(self):
        super().configure()
        (self.dir / "tickets").write_text("".join(
            run("openssl", "rand", "-base64", "48") for _ in range(3)))
        rewrite(self.dir / "haproxy.cfg", (" no-tls-tickets", ""),
                ("both.pem", f"both.pem tls-ticket-keys {self.dir}/tickets"))

    @staticmethod
    def prepare(work):
        need("haproxy", "haproxy", "haproxy")
        need_root(AS_DEBIAN_DOES)
        print_version("haproxy", "-v")


class Apache(Keyed, apache2.Apache):
    overridden = False

    def configure(self):
        super().configure()
        (self.dir / "tickets").write_bytes(secrets.token_bytes(48))
        cache = f"SSLSessionCache {self.rows[0].config}\n"
        rewrite(self.dir / "apache2.conf", (cache, f"SSLSessionCache shmcb:{self.dir}/cache\n"),
                ("SSLSessionTickets off", f"SSLSessionTicketKeyFile {self.dir}/tickets"))

    @staticmethod
    def prepare(work):
        need("apache2", "apache2", "apache2")
        need_root(AS_DEBIAN_DOES)
        print_version("apache2", "-v")


class Lighttpd(Keyed, lighttpd.Lighttpd):
    def configure(self):
        super().configure()
        rewrite(self.dir / "lighttpd.conf", (', "Options" => "-SessionTicket"', ""))

    @staticmethod
    def prepare(work):
        need("lighttpd", "lighttpd", "lighttpd")
        need("/usr/lib/lighttpd/mod_openssl.so", "lighttpd-mod-openssl")
        need_root(AS_DEBIAN_DOES)
        print_version("lighttpd", "-v")


class Postfix(Keyed, postfix.Postfix):
    @staticmethod
    def prepare(work):
        need("postfix", "postfix", "postfix")
        need_root(AS_DEBIAN_DOES)
        print_version("postconf", "-d", "mail_version")


class Node(Keyed, Server):
    PROGRAM = """\
const fs = require('fs'), [, , port, folder] = process.argv;
const options = { minVersion: 'TLSv1.2', key: fs.readFileSync(`${folder}/key.pem`),
                  cert: fs.readFileSync(`${folder}/certificate.pem`) };
require('https').createServer(options, (_, answer) => {
  answer.setHeader('Connection', 'close');
  answer.end('ok');
}).listen(port, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
"""
    workers_wanted = 1
    through = ()

    # It sets its certificates for each connection (SSL_CTX_set_cert_cb).
    with_store = {"SESSCACHE_NAMESPACE": "node"}

    def configure(self):
        (self.dir / "server.js").write_text(self.PROGRAM)

    def launch(self):
        self.start("node", self.dir / "server.js", self.ports[self.rows[0]], self.work)

    def serving(self):
        return self.mains

    def reload(self):
        """It has none."""

    @classmethod
    def prepare(cls, work):
        cls.through = AdmittingNode.prepare(work)["through"]
        print_version(*cls.through, "node", "-v")


class Nginx(Keyed, nginx.Nginx):
    workers_wanted = 2

    def configure(self):
        super().configure()
        cache = f"ssl_session_cache {self.rows[0].config};"
        rewrite(self.dir / "nginx.conf", ("ssl_session_tickets off", "ssl_session_tickets on"),
                (cache, "ssl_session_cache shared:z:1m;"))
        if "quic" in self.protocols:
            # Without reuseport a packet may reach a worker that does not know its connection.
            place, name = f"listen 127.0.0.1:{self.ports[self.rows[0]]}", "server_name first.test;"
            rewrite(self.dir / "nginx.conf",
                    (name, f"{place} quic reuseport; http3 on; {name}"))

    def log_is_clean(self):
        return quic.log_is_clean(self.dir / "error.log")

    @classmethod
    def prepare(cls, work):
        need("nginx", "nginx", "nginx")
        build = run("nginx", "-V")
        version = re.search(r"nginx/([\d.]+)", build)[1]
        if tuple(map(int, version.split("."))) < (1, 23, 2):
            raise Skipped(f"nginx {version} makes no ticket keys, 1.23.2 does")
        print_version("nginx", "-v")
        if "http_v3" in build and quic.is_possible():
            cls.protocols = (*PROTOCOLS, "quic")
        else:
            note_skip("nginx, shared: nginx and openssl do not both speak QUIC")


def rewrite(file, *changes):
    text = file.read_text()
    for old, new in changes:
        assert old in text, f"{file} has no {old}"
        text = text.replace(old, new)
    file.write_text(text)


ROWS = (
    Row("haproxy, tls-ticket-keys", Haproxy, "5 5 5", "5 9 9", "all all all", "all all all"),
    Row("apache2, SSLSessionTicketKeyFile", Apache, "5 5 5", "5 9 9",
        "luck luck luck", "luck luck luck"),
    Row("lighttpd, default", Lighttpd, "5 5 5", "5 9 9", "none none all", "none none all"),
    Row("postfix", Postfix, "5 5 5", "5 9 9", "none none all", "none none all"),
    Row("node", Node, "5 5 5", "5 9 9", "all all all", "none none all"),
    Row("nginx, shared", Nginx, "5 5 5", "9 9 9", "all all all", "none none all"),
)


# --- the part -----------------------------------------------------------------------------------

def through_stages(course):
    server, row = course.server, course.server.rows[0]
    clients, port = {each: server.client_of(each) for each in server.protocols}, server.ports[row]
    for protocol, client in clients.items():
        course.figures["once", protocol] = client.once(port, ONCE)
    check(f"{server}: it says whose keys win", server.says_whose_keys_win)
    changes = (server.reload, lambda: (server.bring_down(), server.bring_up()))
    for stage, change in zip(STAGES, changes):
        server.stage = stage
        for protocol, client in clients.items():
            client.save(port, server.dir / protocol)
        change()
        for protocol, client in clients.items():
            course.figures[stage, protocol] = client.offer(port, server.dir / protocol, TRIES)
        server.check_health()


def test(prepared, work):
    ways, command = chosen(prepared.library), built.copy_command(work)
    for row in ROWS:
        folder = work / row.kind.__name__.lower()
        folder.mkdir(mode=0o755)
        make_certificate(folder)
        try:
            row.kind.prepare(folder)
        except Skipped as why:
            note_skip(f"{row.setup}: {why}")
            continue
        figures = {}
        for way in ways:
            course = Course(row.kind([row], way, prepared, folder, command))
            course.go(through_stages)
            figures[way] = course.figures
        report(row, figures)


def report(row, figures):
    print(f"{row.setup}: of {ONCE}, resumed by new tickets, and of {TRIES} by one kept, "
          "on stock/preloaded/with a store")
    table_row("", "TLS", "new", *STAGES, "")
    for protocol in row.kind.protocols:
        cells = ["/".join(str(figures.get(way, {}).get((stage, protocol), "-")) for way in WAYS)
                 for stage in ("once", *STAGES)]
        table_row("", protocol, *cells, "")
    for stage, protocol, way in product(("once", *STAGES), row.kind.protocols, figures):
        expected = row.expected(stage, protocol, way)
        if expected is not None:
            check(f"{row.setup}, TLS {protocol}, {stage}, {way}", same,
                  expected, str(figures[way][stage, protocol]))
