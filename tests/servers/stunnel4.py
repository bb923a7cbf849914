"""stunnel from Debian's package: threads, chroot, its own user. Two processes with one service
each.

On stock and preloaded:
- The cache is that of the process, and stunnel adds to it itself (SSL_CTX_add_session) although it
  told OpenSSL not to store: all.
- The session of one process is offered to the other: none.
- sessionResume = no: none.
- A reload makes new contexts in the same process: none.

With a store, every session that resumes at all resumes always, and at the other process too. stunnel
keeps data with sessions, which it asks for only with `redirect`. So SESSCACHE_EX_DATA=share is set, as
`sesscache run` does. With `redirect` it is not, and nothing is shared: as on stock.
"""

import pwd
import shutil
import signal
from functools import partial

from harness.packages import need, need_root
from harness.run import run

from .server import AS_DEBIAN_DOES, Server, has_no_line, print_version, start_backend
from .ways import Row, run_rows

USERS = ("stunnel4", "stunnel")  # of Debian's package; the second since stunnel 5.82
RESUMES, RESUMES_NOT = "stunnel4", "stunnel4, sessionResume = no"
REDIRECTS = "stunnel4, redirect"
ROWS = (
    Row(RESUMES, "threads", "all all all", "none none all"),
    Row(RESUMES, "2 processes", "none none all", "none none all"),
    Row(RESUMES_NOT, "threads", "none none none", "none none none"),
    Row(RESUMES_NOT, "2 processes", "none none none", "none none none"),
    Row(REDIRECTS, "threads", "all all all", "none none none", "none none none"),
    Row(REDIRECTS, "2 processes", "none none none", "none none none"),
)

CONFIGURATION = """\
foreground = yes
pid =
syslog = no
debug = info
chroot = {dir}/jail
setuid = {uid}
setgid = {gid}
sessionResume = {resume}
options = NO_TICKET
sslVersionMin = TLSv1.2

[https]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{backend}
cert = {dir}/both.pem
{more}"""
# A client without a certificate is led to the second of two servers.
REDIRECT = """\
verifyChain = yes
CAfile = {dir}/both.pem
redirect = {backend}
"""
# Logged once a service. While it reads its configuration again it lets go of its ports.
BOUND = r"Service \[.*\] .* bound to "


class Stunnel(Server):
    @property
    def with_store(self):
        return {} if self.setup == REDIRECTS else {"SESSCACHE_EX_DATA": "share"}

    def __init__(self, *given, backend):
        super().__init__(*given)
        self.backend = backend

    def configure(self):
        user = debian_user()
        # A reload happens in the chroot and as this user, where the same paths must lead to the same
        # files.
        inside = self.dir / "jail" / self.dir.relative_to("/")
        inside.mkdir(parents=True)
        for folder in (self.dir, inside):
            shutil.copy(self.work / "both.pem", folder)
            for row in self.rows:
                self._file(row, folder).write_text(CONFIGURATION.format(
                    dir=self.dir, uid=user.pw_uid, gid=user.pw_gid, port=self.ports[row],
                    resume="no" if self.setup == RESUMES_NOT else "yes", backend=self.backend,
                    more=REDIRECT.format(backend=self.backend, dir=self.dir)
                    if self.setup == REDIRECTS else ""))
        run("chown", "-R", user.pw_uid, self.dir / "jail")

    def _file(self, row, folder):
        return folder / f"{row.config}.conf"

    def launch(self):
        for row in self.rows:
            self.start("stunnel4", self._file(row, self.dir))

    def serving(self):
        return self.mains

    def client_for(self, name):
        return self.client

    def place_to_save(self, row):
        return self.ports[self.rows[0]]

    def reload(self):
        self.until_logged(len(self.mains), BOUND, self.signal_mains, signal.SIGHUP)

    def log_is_clean(self):
        return has_no_line("INTERNAL ERROR|Reloading.*failed|SSL_accept:", self.output)


def debian_user():
    return next(user for user in pwd.getpwall() if user.pw_name in USERS)


def test(prepared, work):
    need("stunnel4", "stunnel4", "stunnel4")
    need_root(AS_DEBIAN_DOES)
    print_version("stunnel4", "-version", word="platform")
    run_rows(partial(Stunnel, backend=start_backend(work)), ROWS, prepared, work)
