"""BIND from Debian's package, DNS over TLS: one process with threads, its own user.

On stock and preloaded:
- OpenSSL's own cache, and its own tickets: all.
- A reload (SIGHUP) makes new contexts: none.

It draws a session id context for each SSL_CTX, so that no session of an earlier one resumes. With a
store and SESSCACHE_ID_CONTEXT=ours, as `sesscache run` sets it, every session resumes always.
"""

import re
import shutil
import signal

from harness.packages import need, need_root
from harness.run import run

from .server import AS_DEBIAN_DOES, Server, copy_for, has_no_line, print_version
from .ways import Row, run_rows

IDS, TICKETS = "named, ids", "named, tickets"
ROWS = (
    Row(IDS, "threads", "all all all", "none none all"),
    Row(TICKETS, "threads", "all all all", "none none all"),
)

CONFIGURATION = """\
options {{
    directory "{dir}/data";
    pid-file none;
    session-keyfile none;
    {lock}
    listen-on {{ none; }};
    listen-on-v6 {{ none; }};
    listen-on port {port} tls own {{ 127.0.0.1; }};
    recursion no;
    dnssec-validation no;
}};
controls {{ }};
tls own {{
    cert-file "{work}/certificate.pem";
    key-file "{dir}/key.pem";
    protocols {{ TLSv1.2; TLSv1.3; }};
    session-tickets {tickets};
}};
"""


def version():
    """Of BIND: 9.20 has no lock file."""
    return tuple(map(int, re.search(r"BIND (\d+)\.(\d+)", run("named", "-v")).groups()))


class Named(Server):
    workers_wanted = 1
    with_store = {"SESSCACHE_ID_CONTEXT": "ours"}

    def configure(self):
        data = self.dir / "data"
        data.mkdir()
        shutil.chown(data, "bind")
        copy_for("bind", self.work / "key.pem", self.dir)
        (self.dir / "named.conf").write_text(CONFIGURATION.format(
            dir=self.dir, work=self.work, port=self.ports[self.rows[0]],
            lock="lock-file none;" if version() < (9, 20) else "",
            tickets="no" if self.setup == IDS else "yes"))

    def launch(self):
        self.start("named", "-g", "-n", "2", "-u", "bind", "-c", self.dir / "named.conf")

    def serving(self):
        return self.mains

    def client_for(self, name):
        return self.client.of(application="dns", tickets=self.setup != IDS)

    def reload(self):
        self.until_logged(1, "running$", self.signal_mains, signal.SIGHUP)

    def log_is_clean(self):
        return has_no_line("(?i)assertion|exiting \\(due|TLS error", self.output)


def test(prepared, work):
    need("named", "bind9", "named")
    need_root(AS_DEBIAN_DOES)
    print_version("named", "-v")
    run_rows(Named, ROWS, prepared, work)
