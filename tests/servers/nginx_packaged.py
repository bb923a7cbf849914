"""nginx with the configuration of Debian's package, as README starts it: by `sesscache run`, and by
its name alone. A site with TLS is added, once with and once without a cache of sessions.

- Without one nginx keeps no session by its id. `sesscache run` says so in a line, and names the
  setting.
- With one all sessions resume: on other workers, after a reload, and after an upgrade of the binary
  (USR2). The old master starts the new one by its first word, with the variables that `env` lines
  name. So the new workers have the library and the store as well.

nginx runs as a daemon, as in Debian's unit. It ignores USR2 while the process that started it lives.
"""

import contextlib
import os
import re
import signal
from pathlib import Path

from harness import built
from harness.packages import need, need_root
from harness.processes import alive, all_dead, children, dead, family
from harness.tls import make_certificate
from harness.verdicts import Skipped, check, happens, same, wait_until

from . import nginx
from .server import AS_DEBIAN_DOES, print_version
from .ways import PROTOCOLS, TRIES, Row, chosen

PACKAGED = Path("/etc/nginx/nginx.conf")
SITE = """\
server {{
    listen 127.0.0.1:{port} ssl;
    server_name first.test;
    ssl_certificate {work}/certificate.pem;
    ssl_certificate_key {work}/key.pem;
    ssl_session_tickets off;
    {cache}
    return 200 "ok\\n";
}}
"""
WITH_CACHE = Row("nginx, packaged", "shared")
WITHOUT_CACHE = Row("nginx, packaged without a cache", "")


class Packaged(nginx.Nginx):
    workers_wanted = 2

    def __init__(self, rows, prepared, work, command):
        super().__init__(rows, "store", prepared, work)
        self.command = command
        self.env.pop("LD_PRELOAD")

    @property
    def mains(self):
        return self._pids("nginx.pid")

    def _pids(self, *names):
        files = [self.dir / name for name in names]
        return [int(file.read_text()) for file in files if file.exists() and file.read_text()]

    def configure(self):
        row = self.rows[0]
        cache = f"ssl_session_cache {row.config}:z:1m;" if row.config else ""
        (self.dir / "site").write_text(
            SITE.format(port=self.ports[row], work=self.work, cache=cache))
        text = PACKAGED.read_text()
        for pattern, new in (("worker_processes .*", f"worker_processes {self.workers_wanted};"),
                             ("pid .*", f"pid {self.dir}/nginx.pid;"),
                             (r"include /etc/nginx/conf\.d/.*", ""),
                             ("include /etc/nginx/sites-enabled/.*", f"include {self.dir}/site;"),
                             ("/var/log/nginx/", f"{self.dir}/")):
            text = re.sub(pattern, new, text)
        (self.dir / "nginx.conf").write_text(text)

    def launch(self):
        self.start(self.command, "run", "--library", self.library, "--",
                   "nginx", "-c", self.dir / "nginx.conf", "-g", "daemon on; master_process on;")

    def signal_mains(self, number):
        for pid in self.mains:
            os.kill(pid, number)

    def bring_down(self):
        """Nothing of it is below a process that `start` has started."""
        pids = family(*self._pids("nginx.pid", "nginx.pid.oldbin"))
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in filter(alive, pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if happens(5, all_dead, pids):
                return

    def reload(self):
        self.replace_workers(signal.SIGHUP)

    def upgrade(self):
        """The binary, on the fly."""
        (old,), workers = self.mains, self.workers
        os.kill(old, signal.SIGUSR2)
        wait_until(10, lambda: self.mains and self.mains != [old] and self.serving_all())
        os.kill(old, signal.SIGQUIT)
        for pid in (old, *workers):
            wait_until(10, dead, pid)
        wait_until(10, self.workers_are_there)

    def serving_all(self):
        return len(children(self.mains[0])) == self.workers_wanted

    def has_line(self, wanted):
        """Whether the command has said that nginx keeps nothing."""
        said = re.findall("^sesscache: nginx keeps no sessions by id.* ssl_session_cache shared:",
                          self.output.read_text(), re.M)
        return same(wanted, len(said))


def test(prepared, work):
    need("nginx", "nginx", "nginx")
    need_root(AS_DEBIAN_DOES)
    if not PACKAGED.exists():
        raise Skipped(f"there is no {PACKAGED}")
    if "store" not in chosen(prepared.library):
        raise Skipped("it needs a store")
    print_version("nginx", "-v")
    make_certificate(work)
    command = built.copy_command(work)
    for row, steps in ((WITH_CACHE, with_cache), (WITHOUT_CACHE, without_cache)):
        server = Packaged([row], prepared, work, command)
        server.configure()
        try:
            server.bring_up()
            steps(server)
        finally:
            server.bring_down()
        check(f"{server}: nothing bad in its log", server.log_is_clean)


def with_cache(server):
    """Through a reload and an upgrade."""
    check(f"{server}: no line is needed", server.has_line, 0)
    stages = {"now": lambda: None, "reload": server.reload, "upgrade": server.upgrade}
    for stage, change in stages.items():
        server.stage = stage
        save(server)
        change()
        for protocol in PROTOCOLS:
            check(f"{server}, TLS {protocol}: all resume", same, TRIES, offered(server, protocol))
        server.check_health()


def without_cache(server):
    check(f"{server}: a line says that nothing is kept", server.has_line, 1)
    save(server)
    for protocol in PROTOCOLS:
        check(f"{server}, TLS {protocol}: none resume", same, 0, offered(server, protocol))


def save(server):
    for protocol in PROTOCOLS:
        client = server.client_for("first.test").of(protocol=protocol)
        client.save(server.ports[server.rows[0]], server.dir / protocol)


def offered(server, protocol):
    client = server.client_for("first.test").of(protocol=protocol)
    return client.offer(server.ports[server.rows[0]], server.dir / protocol, TRIES)
