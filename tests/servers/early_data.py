"""Recorded early data, sent again: nginx at two hosts with one key file, four workers each.

nginx sets SSL_OP_NO_ANTI_REPLAY, so that libssl accepts the early data of a ticket as often as it
comes. A client gets a ticket of one of the hosts and sends its first flight, ClientHello and request, to
a recorder. The flights are then sent to both hosts, several times each: half of them before and after
both are started again, the others only after it.

- On stock the host that issued the ticket carries the request out each time, and nobody else.
- With a store it does so once, and nobody else, although each host opens the ticket.

libssl refuses early data that has been on its way for 10 seconds. A flight for which a busy machine took
nearly as long is carried out no more often than that, but may not be at all.
"""

import contextlib
import re
import selectors
import socket
import time
from dataclasses import dataclass

from harness.packages import need
from harness.processes import start
from harness.run import result
from harness.tls import make_certificate, make_key_file
from harness.verdicts import at_most, check, same

from .nginx import Nginx
from .server import has_no_line, print_version
from .ways import Row, chosen

HOSTS = ("one", "other")
WORKERS = 4
FLIGHTS = 16
TIMES = 4  # that a flight is sent to each host
OLD = 8  # seconds
APPLICATION_DATA = 23  # RFC 8446 5.1

CONFIGURATION = """\
daemon off;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
events {{ worker_connections 256; }}
http {{
    log_format early '$ssl_early_data $request';
    access_log {dir}/access.log early;
    ssl_certificate {work}/certificate.pem;
    ssl_certificate_key {work}/key.pem;
    ssl_protocols TLSv1.3;
    ssl_early_data on;
    client_header_timeout 1s;
    server {{
        listen 127.0.0.1:{port} ssl;
        return 200 "done\\n";
    }}
}}
"""


class Host(Nginx):
    workers_wanted = WORKERS

    def __init__(self, host, way, prepared, work):
        super().__init__([Row(f"nginx, host {host}", "early data")], way, prepared, work)

    @property
    def port(self):
        return next(iter(self.ports.values()))

    def _env_of_way(self):
        env = super()._env_of_way()
        if "SESSCACHE_KEY_FILE" in env:
            env["SESSCACHE_KEY_FILE"] = str(self.work / "fleet.key")
        return env

    def configure(self):
        (self.dir / "nginx.conf").write_text(CONFIGURATION.format(
            workers=WORKERS, dir=self.dir, work=self.work, port=self.port))

    def carried_out(self):
        """How often each request that came as early data was: by its number."""
        log = (self.dir / "access.log").read_text()
        return [len(re.findall(rf"^1 GET /pay\?{number} ", log, re.M))
                for number in range(FLIGHTS)]


@dataclass(frozen=True)
class Flight:
    issuer: int  # the host that issued its ticket
    is_early: bool  # it is sent before the restart, too
    data: bytes
    made: float


def test(prepared, work):
    need("nginx", "nginx", "nginx")
    print_version("nginx", "-v")
    make_certificate(work)
    make_key_file(work / "fleet.key")
    for way in chosen(prepared.library, ("stock", "store")):
        in_way(way, [Host(host, way, prepared, work) for host in HOSTS], work)


def in_way(way, hosts, work):
    for host in hosts:
        host.configure()
        host.bring_up()
    flights = [record(hosts, number, work) for number in range(FLIGHTS)]
    sent = {True: send([flight for flight in flights if flight.is_early], hosts)}
    for host in hosts:
        host.stage = "restart"
        host.bring_down()
        host.bring_up()
    sent[False] = send(flights, hosts)
    totals = []
    for place, host in enumerate(hosts):
        host.check_health()
        host.bring_down()
        check(f"{host}: its log is clean", has_no_line, r"\[(crit|alert|emerg)\]|exited on signal",
              host.dir / "error.log")
        check(f"{host}: the library is content", host.library_is_content)
        counts = host.carried_out()
        totals.append(sum(counts))
        for number, (flight, count) in enumerate(zip(flights, counts)):
            right = same if sent[flight.is_early] - flight.made < OLD else at_most
            check(f"{host}: request {number} of {HOSTS[flight.issuer]} is carried out",
                  right, times(way, flight, place), count)
    print(f"{way}: {FLIGHTS} flights, sent {TIMES} times to each host and again after a restart,"
          f" carried out: {totals[0]} at one, {totals[1]} at the other", flush=True)


def times(way, flight, place):
    """How often a host carries it out."""
    if place != flight.issuer:
        return 0
    if way == "store":
        return 1
    # Its ticket does not outlive the process.
    return TIMES if flight.is_early else 0


def record(hosts, number, work):
    """The first flight of a client that got its ticket of one of the hosts."""
    issuer, session, request = number % 2, work / "session", work / "request"
    session.unlink(missing_ok=True)
    result(*client(hosts[issuer].port), "-sess_out", session, "-ign_eof",
           input="GET / HTTP/1.0\r\n\r\n")
    assert session.exists(), "there was no ticket"
    request.write_text(f"GET /pay?{number} HTTP/1.0\r\n\r\n")
    with socket.create_server(("127.0.0.1", 0)) as recorder:
        recorder.settimeout(10)
        port = recorder.getsockname()[1]
        start(*client(port), "-sess_in", session, "-early_data", request, log=work / "client.log")
        with recorder.accept()[0] as connection:
            connection.settimeout(10)
            data = first_flight(connection)
    return Flight(issuer, number % 4 < 2, data, time.monotonic())


def client(port):
    return ("openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{port}")


def first_flight(connection):
    """All records until the end of the one with the request."""
    with connection.makefile("rb") as file:
        flight, kind = b"", None
        while kind != APPLICATION_DATA:
            head = file.read(5)
            assert len(head) == 5, "the client sent no early data"
            flight += head + file.read(int.from_bytes(head[3:]))
            kind = head[0]
    return flight


def send(flights, hosts):
    """Each flight to each host, at once, and waits until the servers are done with all of them. To
    one that refuses the early data the client would send more; it gives up after a second. Returns
    when all were sent."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for flight in flights:
            for host in hosts * TIMES:
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", host.port)))
                connection.sendall(flight.data)
                selector.register(connection, selectors.EVENT_READ)
        sent = time.monotonic()
        end = sent + 20
        while selector.get_map():
            assert time.monotonic() < end, "a server does not end a connection"
            for key, _ in selector.select(1):
                if has_ended(key.fileobj):
                    selector.unregister(key.fileobj)
    return sent


def has_ended(connection):
    try:
        return not connection.recv(65536)
    except ConnectionError:
        return True
