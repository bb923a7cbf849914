"""HAProxy from Debian's package: two threads, chroot, its own user, master and worker.

On stock and preloaded:
- Its cache is shared by its threads, and lost with the worker: a reload starts the program anew.
- Two processes on one port (SO_REUSEPORT) have two caches: about half.
- tune.ssl.cachesize 0 was asked for no resumption: none.

With a store, every session that resumes at all resumes always.
"""

import signal

from harness.packages import need, need_root
from harness.processes import children

from .server import AS_DEBIAN_DOES, Server, has_no_line, print_version
from .ways import Row, run_rows

ONE, TWO, NO_CACHE = "haproxy", "haproxy, 2 processes", "haproxy, cachesize 0"
ROWS = (
    Row(ONE, "threads", "all all all", "none none all"),
    Row(TWO, "one port", "some some all", "none none all"),
    Row(NO_CACHE, "threads", "none none none", "none none none"),
)

CONFIGURATION = """\
global
    chroot {dir}/empty
    user haproxy
    group haproxy
    nbthread 2
    hard-stop-after 5s
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    {cache_size}
defaults
    mode http
    timeout client 5s
    timeout http-request 5s
frontend only
    bind 127.0.0.1:{port} ssl crt {work}/both.pem
    http-request return status 200 content-type text/plain string ok
"""


class Haproxy(Server):
    @property
    def workers_wanted(self):
        """One of each process."""
        return 2 if self.setup == TWO else 1

    def configure(self):
        (self.dir / "empty").mkdir()
        (self.dir / "haproxy.cfg").write_text(CONFIGURATION.format(
            dir=self.dir, work=self.work, port=self.ports[self.rows[0]],
            cache_size="tune.ssl.cachesize 0" if self.setup == NO_CACHE else ""))

    def launch(self):
        for _ in range(self.workers_wanted):
            self.start("haproxy", "-W", "-f", self.dir / "haproxy.cfg")

    def serving(self):
        """A master's children: after a reload for a moment the old worker too."""
        return [child for main in self.mains for child in children(main)]

    def reload(self):
        self.test_configuration("haproxy", "-c", "-f", self.dir / "haproxy.cfg")
        self.replace_workers(signal.SIGUSR2)

    def log_is_clean(self):
        return has_no_line(r"ALERT.*(killed|crash|signal)|Segmentation|\(11\)", self.output)


def test(prepared, work):
    need("haproxy", "haproxy", "haproxy")
    need_root(AS_DEBIAN_DOES)
    print_version("haproxy", "-v")
    run_rows(Haproxy, ROWS, prepared, work)
