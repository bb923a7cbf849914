"""Puma from Debian's package: a cluster of two workers.

On stock and preloaded:
- It turns OpenSSL's cache off: none by id.
- The main process makes the context, so that both workers have its ticket keys: all by ticket.
- A reload (SIGUSR2) is an exec, with new keys: none.

It draws a session id context for each SSL_CTX, so that no session of an earlier one resumes. With a
store and SESSCACHE_ID_CONTEXT=ours, as `sesscache run` sets it, every ticket resumes always.
Without that variable ("unhelped", with tickets) the store changes nothing.

A worker of Puma 6.6 does not end by itself at a reload. The main process kills it after
worker_shutdown_timeout.
"""

import signal

from harness.packages import need

from .server import Server, has_no_line, print_version
from .ways import Row, run_rows

IDS, TICKETS, UNHELPED = "puma, ids", "puma, tickets", "puma, unhelped"
ROWS = (
    Row(IDS, "2 workers", "none none none", "none none none"),
    Row(TICKETS, "2 workers", "all all all", "none none all"),
    Row(UNHELPED, "2 workers", "all all all", "none none none", restart="none none none"),
)

CONFIGURATION = """\
workers 2
threads 1, 4
worker_shutdown_timeout 1
environment 'production'
app do |_|
  [200, {{}}, ["ok\\n"]]
end
ssl_bind '127.0.0.1', '{port}', {{ cert: '{work}/certificate.pem', key: '{work}/key.pem' }}
"""


class Puma(Server):
    @property
    def with_store(self):
        return {} if self.setup == UNHELPED else {"SESSCACHE_ID_CONTEXT": "ours"}

    def configure(self):
        (self.dir / "puma.rb").write_text(CONFIGURATION.format(
            work=self.work, port=self.ports[self.rows[0]]))

    def launch(self):
        start = self.start_ticketless if self.setup == IDS else self.start
        start("puma", "-C", self.dir / "puma.rb", "--dir", self.dir)

    def client_for(self, name):
        return self.client.of(tickets=self.setup != IDS)

    def reload(self):
        self.replace_workers(signal.SIGUSR2)

    def log_is_clean(self):
        return has_no_line("(?i)SSL error|segfault|Early termination", self.output)


def test(prepared, work):
    need("puma", "puma", "puma")
    print_version("puma", "--version")
    run_rows(Puma, ROWS, prepared, work)
