"""stunnel from Debian's package with `redirect`: two processes, as two hosts would be. A client
whose certificate is of no authority it knows reaches another service than the others.

stunnel keeps what it found in ex_data of the session, which cannot travel. In all ways a session
resumes at the process that made it, alone, and each client reaches its own service.
"""

import sys

from harness import processes
from harness.network import free_port, is_listening
from harness.packages import need
from harness.run import run
from harness.tls import make_certificate
from harness.verdicts import check, same, wait_until

from .eap import make_certificates
from .server import Server, has_no_line, print_version
from .ways import PROTOCOLS, Course, Row, chosen

FIRST, SECOND = ROWS = (Row("redirect", "first"), Row("redirect", "second"))
TRIES = 5

CONFIGURATION = """\
foreground = yes
pid =
syslog = no
debug = notice
sslVersionMin = TLSv1.2

[service]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{inner}
redirect = 127.0.0.1:{outer}
cert = {work}/both.pem
CAfile = {work}/ca.pem
verifyChain = yes
"""

BACKEND = r"""import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection = server.accept()[0]
    with connection:
        request = b""
        while not request.endswith(b"\r\n\r\n") and (more := connection.recv(4096)):
            request += more
        if request:
            connection.sendall(sys.argv[2].encode())
"""


class Stunnel(Server):
    def __init__(self, *given, backends):
        super().__init__(*given)
        self.backends = backends

    def configure(self):
        for row in self.rows:
            self._file(row).write_text(CONFIGURATION.format(
                work=self.work, port=self.ports[row], **self.backends))

    def _file(self, row):
        return self.dir / f"{row.config}.conf"

    def launch(self):
        for row in self.rows:
            self.start_ticketless("stunnel4", self._file(row))

    def serving(self):
        return self.mains

    def log_is_clean(self):
        return has_no_line("INTERNAL ERROR", self.output)


def start_backends(work):
    """The ports of the services, by name. Each answers with its name."""
    ports = {name: free_port() for name in ("inner", "outer")}
    for name, port in ports.items():
        processes.start(sys.executable, "-c", BACKEND, port, name, log=work / f"{name}.log")
        wait_until(10, is_listening, port)
    return ports


def make_clients(work):
    """The certificates that clients show, by the service that they are to reach."""
    make_certificates(work)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=stranger", "-keyout", work / "stranger.key", "-out", work / "stranger.crt")
    for name, certificate in (("client", "client.pem"), ("stranger", "stranger.crt")):
        both = (work / f"{name}.key").read_text() + (work / certificate).read_text()
        (work / f"{name}.both").write_text(both)
    return {"inner": work / "client.both", "outer": work / "stranger.both"}


def _offer_at_each(clients, course):
    server = course.server
    for protocol in PROTOCOLS:
        for service, certificate in clients.items():
            client = server.client.of(protocol=protocol, certificate=certificate)
            file = server.dir / f"{service}-{protocol}.session"
            client.save(server.ports[FIRST], file)
            for row, handshake in ((FIRST, "resumed"), (SECOND, "full")):
                what = f"{course.server}, TLS {protocol}, {service}, {row.config}: {handshake}"
                check(what, _all_are, (handshake, service),
                      client.tries(server.ports[row], file, TRIES))
    server.check_health()


def _all_are(expected, tries):
    found = {(handshake, answer) for handshake, _, answer in tries}
    return same({expected}, found)


def test(prepared, work):
    need("stunnel4", "stunnel4", "stunnel4")
    print_version("stunnel4", "-version", word="platform")
    make_certificate(work)
    clients, backends = make_clients(work), start_backends(work)
    for way in chosen(prepared.library):
        course = Course(Stunnel(ROWS, way, prepared, work, backends=backends))
        course.go(lambda course: _offer_at_each(clients, course))
