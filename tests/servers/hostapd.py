"""hostapd from Debian's package as an authentication server: EAP-TLS and PEAP over RADIUS.

It keeps who a client is in ex_data of the session, and rejects a session that resumes without. Such
data cannot travel, so a store changes nothing: a session resumes at the server that made it. At
another one, or after a restart, the handshake is a full one, and the client is let in.

In TLS 1.3 hostapd 2.10 frees such data twice when it ends, on stock.
"""

from harness.packages import need

from . import eap
from .server import has_no_line, print_version
from .ways import PROTOCOLS

CONFIGURATION = """\
driver=none
logger_stdout=-1
logger_stdout_level=2
eap_server=1
eap_user_file={dir}/users
ca_cert={pki}/ca.pem
server_cert={pki}/server.pem
private_key={pki}/server.key
tls_session_lifetime=3600
tls_flags=[ENABLE-TLSv1.3]
radius_server_clients={dir}/clients
radius_server_auth_port={port}
"""


class Hostapd(eap.Radius):
    ready = "AP-ENABLED"

    def configure(self):
        (self.dir / "users").write_text('"client" TLS\n* PEAP\n"bob" MSCHAPV2 "secret" [2]\n')
        (self.dir / "clients").write_text(f"127.0.0.1 {eap.SECRET}\n")
        for row in self.rows:
            self._file(row).write_text(CONFIGURATION.format(
                dir=self.dir, pki=self.pki, port=self.ports[row]))

    def _file(self, row):
        return self.dir / f"{row.config}.conf"

    def launch(self):
        for row in self.rows:
            self.start("hostapd", self._file(row))

    def log_is_clean(self):
        twice = "double free|" if self.protocol == "1.2" else ""
        return has_no_line(f"{twice}EAP-FAILURE", self.output)


def test(prepared, work):
    need("hostapd", "hostapd", "hostapd")
    print_version("sh", "-c", "hostapd -v; true", word="hostapd v")
    eap.test("hostapd", Hostapd, PROTOCOLS, prepared, work)
