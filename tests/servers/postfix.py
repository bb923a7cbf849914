"""Postfix from Debian's package, SMTP over TLS from the first byte. The master starts its smtpd by
exec when a client comes; it goes on for the next one. Sessions are in tickets alone.

The master hands down only the variables that import_environment names. The keys of tickets are
tlsmgr's, another of its processes.
"""

from harness.processes import all_dead, descendants
from harness.run import run
from harness.verdicts import wait_until

from .dovecot import name_of
from .server import Server, has_no_line

# `sesscache run` sets these.
FOR_THE_LIBRARY = ("LD_PRELOAD", "SESSCACHE_TICKETS")

MAIN = """\
compatibility_level = 3.6
import_environment = {names}
queue_directory = {dir}/queue
data_directory = {dir}/data
inet_interfaces = 127.0.0.1
myhostname = first.test
mydestination =
maillog_file = /dev/stdout
smtpd_tls_wrappermode = yes
smtpd_tls_mandatory_protocols = >=TLSv1.2
smtpd_tls_chain_files = {work}/both.pem
smtpd_peername_lookup = no
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
tlsmgr unix - - n 1000? 1 tlsmgr
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(Server):
    workers_stay = False
    workers_wanted = 0

    def client_for(self, name):
        return super().client_for(name).of(application="smtp")

    def configure(self):
        for name in ("queue", "data"):
            (self.dir / name).mkdir()
        run("chown", "postfix", self.dir / "data")
        default = run("postconf", "-d", "-h", "import_environment").strip()
        (self.dir / "main.cf").write_text(MAIN.format(
            names=" ".join([default, *FOR_THE_LIBRARY, *self.env]), dir=self.dir, work=self.work))
        (self.dir / "master.cf").write_text(MASTER.format(port=self.ports[self.rows[0]]))

    def launch(self):
        self.until_logged(1, "daemon started", self.start, "postfix", "-c", self.dir, "start-fg")

    def serving(self):
        """Before a client comes it has none."""
        return [pid for main in self.mains for pid in descendants(main) if name_of(pid) == "smtpd"]

    def workers_are_there(self):
        self.workers = self.serving()
        return True

    def reload(self):
        """A process that waits for a client ends when it sees that the master was reloaded."""
        old = self.serving()
        self.until_logged(1, "reload -- version", run, "postfix", "-c", self.dir, "reload")
        wait_until(10, all_dead, old)

    def log_is_clean(self):
        return has_no_line("fatal:|panic:|killed by signal", self.output)
