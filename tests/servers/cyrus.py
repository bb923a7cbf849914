"""Cyrus from Debian's packages: a master and two pop3d, each an exec, as the user cyrus.

Its pop3d and its imapd have the same TLS, from libcyrus_imap. The package of imapd cannot be
installed beside Dovecot's.

Cyrus keeps sessions in a database of its own, for all its processes: its new_cb returns 0, its
get_cb finds them. On stock, preloaded and with a store alike:
- By id in TLS 1.2: all, in other processes and after a restart, too.
- New processes, and a restart, lose nothing.

In TLS 1.3 libssl removes a session that resumed, because Cyrus sets SSL_SESS_CACHE_BOTH: one of the
tries resumes, or none, and with a store all.
"""

import signal

from harness.packages import need, need_root
from harness.processes import dead
from harness.run import result, run
from harness.verdicts import wait_until

from .server import AS_DEBIAN_DOES, Server, copy_for, has_no_line
from .ways import Row, run_rows

ROWS = (
    Row("cyrus", "2 processes", "all all all", "all all all", restart="all all all", judged="1.2"),
)

USER = "cyrus"
AS_USER = ("setpriv", f"--reuid={USER}", "--regid=mail", "--init-groups")
PROGRAMS = "/usr/lib/cyrus/bin"

SETTINGS = """\
configdirectory: {dir}/conf
defaultpartition: default
partition-default: {dir}/spool
tls_server_cert: {work}/certificate.pem
tls_server_key: {dir}/key.pem
tls_session_timeout: 1440
tls_versions: tls1_2 tls1_3
"""
SERVICES = """\
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {settings} -r"
}}
SERVICES {{
  pop3s cmd="{programs}/pop3d -C {settings} -s" listen="127.0.0.1:{port}" prefork=2 maxchild=2
}}
EVENTS {{
}}
"""


class Cyrus(Server):
    workers_stay = False  # a pop3d ends after 250 connections
    through = AS_USER

    @property
    def _settings(self):
        return self.dir / "imapd.conf"

    def configure(self):
        for folder in ("conf/socket", "spool"):
            (self.dir / folder).mkdir(parents=True)
        copy_for(USER, self.work / "key.pem", self.dir)
        self._settings.write_text(SETTINGS.format(dir=self.dir, work=self.work))
        (self.dir / "cyrus.conf").write_text(SERVICES.format(
            programs=PROGRAMS, settings=self._settings, port=self.ports[self.rows[0]]))
        run("chown", "-R", USER, self.dir)

    def launch(self):
        self.start_ticketless(f"{PROGRAMS}/master", "-C", self._settings,
                              "-M", self.dir / "cyrus.conf", "-p", self.dir / "pid")

    def client_for(self, name):
        return self.client.of(application="pop3")

    def reload(self):
        """The processes are replaced. The master reads its configuration again, and says so in the
        system's log alone."""
        old = self.serving()
        self.signal_mains(signal.SIGHUP)
        for pid in old:
            result("kill", pid)
        for pid in old:
            wait_until(10, dead, pid)
        wait_until(10, self.workers_are_there)

    def log_is_clean(self):
        return has_no_line("(?i)signal|abort", self.output)


def test(prepared, work):
    need(f"{PROGRAMS}/pop3d", "cyrus-pop3d", "cyrus-pop3d")
    need_root(AS_DEBIAN_DOES)
    run_rows(Cyrus, ROWS, prepared, work)
