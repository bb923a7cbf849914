"""nginx with two workers and HAProxy with two threads, over QUIC: sessions in stateful tickets, and in
stateless ones. Debian has both since 13. HAProxy gives only stateless tickets over QUIC, whatever
no-tls-tickets says.

On stock:
- a stateful ticket resumes in the process that has its session, so with nginx about half do (builtin);
- a stateless ticket resumes in all workers;
- none resumes after a reload, which makes new caches and keys, or on another host.

With a store all of them resume, on another host too. The other host is a second server with its own store
and the same key file; stateful tickets come to it by agents and a Redis.
"""

import shutil

from harness import built, quic
from harness.agent import Agent
from harness.network import free_port
from harness.packages import need, need_root
from harness.quic import QuicClient
from harness.redis import Redis
from harness.run import run
from harness.tls import make_certificate
from harness.verdicts import Skipped, check, happens, same

from . import haproxy, nginx
from .server import AS_DEBIAN_DOES, print_version
from .ways import WAYS, Course, Row, chosen

TRIES = 20  # connections that offer one ticket
STATEFUL, STATELESS = "stateful", "stateless"
STAGES = ("now", "reload", "restart", "kill", "other")
# How many of the tries resume in each way, now; at the later stages none do without a store.
LATER = "none none all"
LONGEST_ID = 32  # bytes of a stateful ticket


class Nginx(nginx.Nginx):
    name, workers_wanted = "nginx", 2
    now = {STATEFUL: "some some all", STATELESS: "all all all"}

    def _virtual_host(self, row, name):
        tickets, cache = ("on", "none") if row.config == STATELESS else ("off", "builtin")
        port, asking = self.ports[row], f"ssl_session_tickets {tickets};"
        if name == "first.test":
            # Without reuseport a packet may reach a worker that does not know its connection.
            asking += f" listen 127.0.0.1:{port} quic reuseport; http3 on;"
        return nginx.VIRTUAL_HOST.format(port=port, name=name, cache=cache, asking=asking)

    def log_is_clean(self):
        return quic.log_is_clean(self.dir / "error.log")

    @classmethod
    def prepare(cls):
        need("nginx", "nginx", "nginx")
        if "http_v3" not in run("nginx", "-V"):
            raise Skipped("nginx does not speak QUIC")
        print_version("nginx", "-v")


class Haproxy(haproxy.Haproxy):
    name, workers_wanted = "haproxy", 1
    now = {STATELESS: "all all all"}

    def configure(self):
        super().configure()
        file = self.dir / "haproxy.cfg"
        head = file.read_text().partition("    bind ")[0].replace(" no-tls-tickets", "")
        port, = self.ports.values()
        binds = "".join(f"    bind {place} ssl crt {self.work}/both.pem\n"
                        for place in (f"127.0.0.1:{port}", f"quic4@127.0.0.1:{port} alpn h3"))
        file.write_text(head.replace("global\n", "global\n    limited-quic\n") + binds +
                        "    http-request return status 200 content-type text/plain string ok\n")

    @classmethod
    def prepare(cls):
        need("haproxy", "haproxy", "haproxy")
        need_root(AS_DEBIAN_DOES)
        if "+QUIC" not in run("haproxy", "-vv"):
            raise Skipped("haproxy does not speak QUIC")
        print_version("haproxy", "-v")


def rows_of(kind, setup):
    return [Row(setup, mode) for mode in kind.now]


def ticket_bytes(session):
    """The length of the ticket in a session's file, from OpenSSL's dump of it."""
    said = run("openssl", "sess_id", "-in", session, "-noout", "-text")
    dump = said.partition("TLS session ticket:")[2].partition("\n\n")[0]
    lines = [line.split(" - ")[1] for line in dump.splitlines() if " - " in line]
    # 16 bytes a line; a hyphen is between the eighth and the ninth.
    return sum(len(line[:48].replace("-", " ").split()) for line in lines)


def is_in_mode(session, mode):
    found = ticket_bytes(session)
    assert found, "the file has no ticket"
    assert (found <= LONGEST_ID) == (mode == STATEFUL), f"a ticket of {found} bytes is not {mode}"
    return True


# --- the stages ---------------------------------------------------------------------------------

def through_stages(course):
    server = course.server
    save_and_offer(course, "now", lambda: None)
    save_and_offer(course, "reload", server.reload)
    save_and_offer(course, "restart", lambda: (server.bring_down(), server.bring_up()))
    save_and_offer(course, "kill", lambda: (server.kill(), server.bring_up()))
    offer_elsewhere(course)


def save_and_offer(course, stage, change):
    server, client = course.server, QuicClient(course.server.dir, "first.test")
    server.stage = stage
    for row, port in server.ports.items():
        client.save(port, file_of(course, row))
        check(f"{server}: the ticket is {row.config}", is_in_mode, file_of(course, row), row.config)
    change()
    for row, port in server.ports.items():
        course.figures[stage, row.config] = client.offer(port, file_of(course, row), TRIES)
    server.check_health()


def file_of(course, row):
    return course.server.dir / f"{row.config}.session"


def offer_elsewhere(course):
    """The sessions of the last stage, on a second server."""
    server, agents = course.server, []
    rows = rows_of(server, f"{server.name}, other host")
    other = type(server)(rows, server.way, course.prepared, server.work)
    if server.way == "store":
        shutil.copyfile(server.dir / "store.key", other.dir / "store.key")
        redis = Redis.start(server.work, free_port())
        agents = [Agent.start(course.command, each.dir / "store", redis.url, each.dir / "agent.log")
                  for each in (server, other)]
    other.configure()
    other.bring_up()
    client = QuicClient(other.dir, "first.test")
    for row, port in other.ports.items():
        if agents:
            happens(20, lambda: client.offer(port, file_of(course, row), 1) == 1)
        figure = client.offer(port, file_of(course, row), TRIES)
        course.figures["other", row.config] = figure
    other.bring_down()
    for agent in agents:
        check("an agent ends when asked", agent.ends)
    check(f"{other}: nothing bad in its log", other.log_is_clean)
    check(f"{other}: the library complains of nothing", other.library_is_content)


# --- the part -----------------------------------------------------------------------------------

def test_of(kind):
    def test(prepared, work):
        if not quic.is_possible():
            raise Skipped("openssl does not speak QUIC")
        need("redis-server", "redis-server", "redis-server")
        kind.prepare()
        command = built.copy_command(work)
        make_certificate(work)
        figures = {}
        for way in chosen(prepared.library):
            course = Course(kind(rows_of(kind, kind.name), way, prepared, work))
            course.prepared, course.command = prepared, command
            course.go(through_stages)
            figures[way] = course.figures
        report(kind, figures)
    return test


def report(kind, figures):
    print(f"{kind.name} over QUIC: of {TRIES}, resumed on stock/preloaded/with a store")
    print("%-12s" % "ticket" + "".join("%-11s" % stage for stage in STAGES))
    for mode, now in kind.now.items():
        cells = ["/".join(str(figures.get(way, {}).get((stage, mode), "-")) for way in WAYS)
                 for stage in STAGES]
        print("%-12s" % mode + "".join("%-11s" % cell for cell in cells), flush=True)
        for stage in STAGES:
            for way, word in zip(WAYS, (now if stage == "now" else LATER).split()):
                if way in figures:
                    check(f"{kind.name}, {mode} ticket, {stage}, {way}", fits, word,
                          figures[way][stage, mode])


def fits(word, figure):
    if word == "some":
        assert 0 < figure < TRIES, f"{figure} of {TRIES} is not some of them"
        return True
    return same({"all": TRIES, "none": 0}[word], figure)
