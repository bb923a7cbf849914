"""EAP over RADIUS, for hostapd and FreeRADIUS: two servers, as two hosts would be, and eapol_test,
which authenticates again and again with the session that it got last.

A relay before them sends one authentication to the first server and another to the second, because
eapol_test keeps sessions in its memory alone.
"""

import re
import socket
import threading
from itertools import product

from harness.packages import need
from harness.run import result, run
from harness.verdicts import check

from .server import Server
from .ways import Course, Row, chosen, table_row

SECRET = "radius"
# The server of each authentication. A session of the other one is offered twice.
ROUNDS = (0, 0, 1, 1, 0, 0)
RESUMED_AT_HOME = 3
ACCEPT, REJECT = 2, 3

CLIENTS = {
    "EAP-TLS": 'eap=TLS\nidentity="client"\n'
               'client_cert="{pki}/client.pem"\nprivate_key="{pki}/client.key"\n',
    "PEAP": 'eap=PEAP\nidentity="bob"\npassword="secret"\nphase2="auth=MSCHAPV2"\n',
}
NETWORK = """\
network={{
key_mgmt=IEEE8021X
ca_cert="{pki}/ca.pem"
phase1="tls_disable_tlsv1_3={without_1_3}"
{words}}}
"""


def make_certificates(folder):
    """ca.pem, and from it server.pem, server.key, client.pem, client.key."""
    new_key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    run("openssl", "req", "-x509", *new_key, "-subj", "/CN=ca", "-keyout", folder / "ca.key",
        "-out", folder / "ca.pem")
    for name in ("server", "client"):
        run("openssl", "req", *new_key, "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key",
            "-out", folder / f"{name}.csr")
        run("openssl", "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem",
            "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2",
            "-out", folder / f"{name}.pem")


class Relay(threading.Thread):
    """Passes datagrams on, of each authentication to the server of its round."""

    def __init__(self, ports):
        super().__init__(daemon=True)
        self._ports, self._round = ports, 0
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back.settimeout(2)
        self.port = self._front.getsockname()[1]

    def run(self):
        while True:
            request, client = self._front.recvfrom(65536)
            if not request:
                return
            server = self._ports[ROUNDS[self._round % len(ROUNDS)]]
            self._back.sendto(request, ("127.0.0.1", server))
            try:
                answer = self._back.recv(65536)
            except TimeoutError:
                continue  # the client sends it again
            if answer[0] in (ACCEPT, REJECT):
                self._round += 1
            self._front.sendto(answer, client)

    def end(self):
        self._front.sendto(b"", self._front.getsockname())
        self.join()
        self._front.close()
        self._back.close()


class Radius(Server):
    """Two of them. A class of this one configures and launches them."""

    def __init__(self, *given):
        super().__init__(*given)
        self.pki = self.work

    @property
    def protocol(self):
        return self.rows[0].judged

    def bring_up(self):
        """As Server does; but RADIUS is spoken over UDP."""
        self.until_logged(len(self.rows), self.ready, self.launch)
        self.workers_are_there()

    def serving(self):
        return self.mains

    def authenticate(self, method):
        """(accepted, resumed) of the rounds. The client stops at the first that is rejected. In TLS 1.3
        it may say twice that a handshake is finished: when tickets come, too."""
        file = self.dir / f"{method}.client"
        file.write_text(NETWORK.format(pki=self.pki, words=CLIENTS[method].format(pki=self.pki),
                                       without_1_3=int(self.protocol == "1.2")))
        relay = Relay([self.ports[row] for row in self.rows])
        relay.start()
        done = result("eapol_test", "-c", file, "-p", relay.port, "-s", SECRET,
                      "-r", len(ROUNDS) - 1, "-t", 10)
        relay.end()
        (self.dir / f"{method}.log").write_text(done.stdout)
        assert f"Using TLS version TLSv{self.protocol}" in done.stdout, "another protocol was used"
        rounds = done.stdout.split("CTRL-EVENT-EAP-STARTED")[1:]
        return (sum("CTRL-EVENT-EAP-SUCCESS" in said for said in rounds),
                sum("Handshake finished - resumed=1" in said for said in rounds))


def _authenticate_with_each(course):
    for method in CLIENTS:
        server = course.server
        accepted, resumed = server.authenticate(method)
        table_row(method, server.protocol, server.way, f"{accepted} in", f"{resumed} again", "")
        what = f"{server}, {method}: of {len(ROUNDS)}"
        check(f"{what}, {accepted} are let in, not all", accepted == len(ROUNDS))
        check(f"{what}, {resumed} resume, not {RESUMED_AT_HOME}", resumed == RESUMED_AT_HOME)
    course.server.check_health()


def test(name, kind, protocols, prepared, work):
    """In all ways: everyone is let in, and a session resumes at the server that made it, alone."""
    need("eapol_test", "eapoltest")
    make_certificates(work)
    for protocol, way in product(protocols, chosen(prepared.library)):
        rows = [Row(f"{name}, TLS {protocol}", config, judged=protocol)
                for config in ("first", "second")]
        Course(kind(rows, way, prepared, work)).go(_authenticate_with_each)
