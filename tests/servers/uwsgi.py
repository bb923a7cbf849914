"""uWSGI from Debian's package, HTTPS by its own socket: a master and two workers. All are www-data's
from the start, because a reload (SIGHUP) is an exec: it opens the store and the keys again.

On stock and preloaded:
- It turns OpenSSL's cache off: none by id.
- The master makes the context, so that both workers have its ticket keys: all by ticket.
- A reload draws new ones: none.

With a store, a ticket that resumes at all resumes always.
"""

import signal

from harness.packages import need, need_root
from harness.run import run

from .server import AS_DEBIAN_DOES, Server, copy_for, has_no_line, print_version
from .ways import Row, run_rows

IDS, TICKETS = "uwsgi, ids", "uwsgi, tickets"
ROWS = (
    Row(IDS, "2 workers", "none none none", "none none none"),
    Row(TICKETS, "2 workers", "all all all", "none none all"),
)


USER = "www-data"
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")


class Uwsgi(Server):
    through = AS_USER

    def configure(self):
        copy_for(USER, self.work / "key.pem", self.dir)
        run("chown", "-R", USER, self.dir)
        self.words = (
            "uwsgi", "--plugin", "notfound", "--master", "--processes", "2",
            "--https-socket", f"127.0.0.1:{self.ports[self.rows[0]]},"
            f"{self.work}/certificate.pem,{self.dir}/key.pem",
            "--die-on-term")

    def launch(self):
        start = self.start if self.setup == TICKETS else self.start_ticketless
        start(*self.words)

    def client_for(self, name):
        return self.client.of(tickets=self.setup == TICKETS)

    def reload(self):
        self.replace_workers(signal.SIGHUP)

    def log_is_clean(self):
        return has_no_line("(?i)segfault|died|core:|SSL", self.output)


def test(prepared, work):
    need("uwsgi", "uwsgi-core", "uwsgi")
    need_root(AS_DEBIAN_DOES)
    print_version("uwsgi", "--version")
    run_rows(Uwsgi, ROWS, prepared, work)
