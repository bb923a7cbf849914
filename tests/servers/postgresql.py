"""PostgreSQL from Debian's package, which turns resumption off on purpose: no cache, no tickets. It
must stay off in all three ways. Each connection has a process, forked from the postmaster, which
makes the context.
"""

import signal
from functools import partial
from pathlib import Path

from harness.packages import need, need_root
from harness.run import result, run
from harness.verdicts import Skipped

from .server import AS_DEBIAN_DOES, Server, copy_for, has_no_line, print_version
from .ways import Row, run_rows

ROWS = (
    Row("postgresql", "process a connection", "none none none", "none none none"),
)

USER = "postgres"
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")

CONFIGURATION = """\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
ssl = on
ssl_cert_file = 'certificate.pem'
ssl_key_file = 'key.pem'
"""


class Postgresql(Server):
    workers_wanted = 1
    through = AS_USER

    def __init__(self, *given, programs):
        super().__init__(*given)
        self.programs = programs

    def configure(self):
        """One cluster serves all ways. The postmaster opens the store, with no more rights than
        postgres has."""
        if not self._data.exists():
            self._make_cluster()
        run("chown", "-R", USER, self.dir)

    @property
    def _data(self):
        return self.work / "data"

    def _make_cluster(self):
        data = self._data
        data.mkdir()
        run("chown", USER, data)
        done = result(self.programs / "initdb", "--no-sync", "--auth=trust", "--no-locale", data,
                      through=AS_USER)
        if done.returncode != 0:
            raise Skipped(f"initdb failed: {(done.stdout + done.stderr).strip()}")
        for name in ("key.pem", "certificate.pem"):
            copy_for(USER, self.work / name, data)
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
        (data / "postgresql.conf").write_text(CONFIGURATION)

    def launch(self):
        self.until_logged(1, "ready to accept connections", self.start,
                          self.programs / "postgres", "-D", self._data,
                          "-p", self.ports[self.rows[0]])

    def serving(self):
        return self.mains

    def client_for(self, name):
        return self.client.of(application="postgres")

    def reload(self):
        self.until_logged(1, "received SIGHUP", self.signal_mains, signal.SIGHUP)

    def log_is_clean(self):
        return has_no_line("FATAL|PANIC|ERROR|terminated by signal", self.output)


def test(prepared, work):
    postgres = need("/usr/lib/postgresql/*/bin/postgres", "postgresql", "postgresql")
    need_root(AS_DEBIAN_DOES)
    print_version(postgres, "--version")
    run_rows(partial(Postgresql, programs=Path(postgres).parent), ROWS, prepared, work)
