"""dnsdist from Debian's package, DNS over TLS: one process with threads, its own user.

On stock and preloaded:
- By id: all.
- By ticket, with keys of its own, drawn at the start: all.
- A reload of the certificates by the console makes a new context, with new ticket keys: none.

With a store an id resumes always. Its own ticket keys win, so a ticket does not.
"""

import base64
import secrets

from harness.network import free_port
from harness.packages import need, need_root
from harness.run import run

from .server import AS_DEBIAN_DOES, Server, copy_for, has_no_line, print_version
from .ways import Row, run_rows

IDS, TICKETS = "dnsdist, ids", "dnsdist, tickets"
ROWS = (
    Row(IDS, "threads", "all all all", "none none all"),
    Row(TICKETS, "threads", "all all all", "none none none", restart="none none none"),
)

CONFIGURATION = """\
setSecurityPollSuffix("")
setKey("{key}")
controlSocket("127.0.0.1:{console}")
addTLSLocal("127.0.0.1:{port}", "{work}/certificate.pem", "{dir}/key.pem",
            {{ provider = "openssl" }})
addAction(AllRule(), RCodeAction(DNSRCode.REFUSED))
"""


class Dnsdist(Server):
    workers_wanted = 1

    @property
    def _file(self):
        return self.dir / "dnsdist.conf"

    def configure(self):
        copy_for("_dnsdist", self.work / "key.pem", self.dir)
        self._file.write_text(CONFIGURATION.format(
            dir=self.dir, work=self.work, port=self.ports[self.rows[0]], console=free_port(),
            key=base64.b64encode(secrets.token_bytes(32)).decode()))

    def launch(self):
        start = self.start if self.setup == TICKETS else self.start_ticketless
        start("dnsdist", "--supervised", "--disable-syslog", "-u", "_dnsdist",
              "-C", self._file)

    def serving(self):
        return self.mains

    def client_for(self, name):
        return self.client.of(application="dns", tickets=self.setup == TICKETS)

    def reload(self):
        run("dnsdist", "-C", self._file, "-e", "reloadAllCertificates()")

    def log_is_clean(self):
        # There is no server behind it.
        return has_no_line("(?i)^(?!.*No downstream servers).*(error|fatal)", self.output)


def test(prepared, work):
    need("dnsdist", "dnsdist", "dnsdist")
    need_root(AS_DEBIAN_DOES)
    print_version("dnsdist", "--version")
    run_rows(Dnsdist, ROWS, prepared, work)
