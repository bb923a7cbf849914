"""Dovecot from Debian's package, IMAP over TLS: two login processes. The master starts them by
exec. They go into their chroot and drop root before they make an SSL_CTX.

On stock and preloaded:
- service_count = 0: a login process serves many connections. Each has its own cache, as OpenSSL has
  it when nobody sets anything: about half.
- service_count = 1, Dovecot's default, is a process a connection: none.
- A reload starts new login processes: none.

With a store, every session that resumes at all resumes always, and a process a connection resumes
too.

The master hands down only the variables that import_environment names.
"""

import re
import signal

from harness.packages import need, need_root
from harness.processes import children
from harness.run import run

from .server import AS_DEBIAN_DOES, Server, print_version
from .ways import Row, run_rows

MANY, ONE = "dovecot, service_count = 0", "dovecot, service_count = 1"
ROWS = (
    Row(MANY, "2 processes", "some some all", "none none all"),
    Row(ONE, "process a connection", "none none all", "none none all"),
)

CONFIGURATION = """\
{dialect}
base_dir = {dir}/run
state_dir = {dir}/state
instance_name = {dir.name}
log_path = {dir}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_min_protocol = TLSv1.2
ssl_options = no_ticket
service imap-login {{
    process_min_avail = 2
    process_limit = {limit}
    inet_listener imap {{
        port = 0
    }}
    inet_listener imaps {{
        port = {port}
        ssl = yes
    }}
}}
"""
UNTIL_2_3 = """\
import_environment = {names}
ssl_cert = <{work}/certificate.pem
ssl_key = <{work}/key.pem
passdb {{
    driver = static
    args = nopassword=y
}}
service imap-login {{
    service_count = {count}
}}
"""
SINCE_2_4 = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
import_environment {{
{names}
}}
ssl_server_cert_file = {work}/certificate.pem
ssl_server_key_file = {work}/key.pem
passdb static {{
    fields {{
        nopassword = y
    }}
}}
service imap-login {{
    restart_request_count = {count}
}}
"""


def configuration(variables, template=CONFIGURATION, *, count, **values):
    """In the words of the installed version. variables: names, which its processes are to have.
    count: of connections that a login process serves, 0 for any number."""
    if not is_2_4():
        default = run("doveconf", "-d", "-h", "import_environment").strip()
        dialect = UNTIL_2_3.format(names=" ".join([default, *variables]), count=count,
                                   **values)
    else:
        lines = (f"    {name} = %{{env:{name}}}" for name in variables)
        dialect = SINCE_2_4.format(names="\n".join(lines), count=count or "unlimited", **values)
    return template.format(dialect=dialect, **values)


def since_2_4(words):
    """Settings about clients' certificates, as they are written for 2.3, in the words of 2.4."""
    for old, new in (("ssl_verify_client_cert", "ssl_server_request_client_cert"),
                     ("ssl_ca = <", "ssl_server_ca_file = "),
                     ("ssl_require_crl", "ssl_server_require_crl")):
        words = words.replace(old, new)
    return words


def is_2_4():
    return tuple(map(int, run("dovecot", "--version").split(".")[:2])) >= (2, 4)


class Dovecot(Server):
    @property
    def workers_stay(self):
        return self.setup == MANY

    @property
    def _log(self):
        return self.dir / "dovecot.log"

    def configure(self):
        # With a process a connection two wait, besides those that end.
        count, limit = (0, 2) if self.setup == MANY else (1, 50)
        (self.dir / "dovecot.conf").write_text(configuration(
            self.env, dir=self.dir, work=self.work,
            count=count, limit=limit, port=self.ports[self.rows[0]]))

    def launch(self):
        self.start("dovecot", "-F", "-c", self.dir / "dovecot.conf")

    def serving(self):
        return [pid for pid in children(self.mains[0]) if name_of(pid) == "imap-login"]

    def client_for(self, name):
        return self.client.of(application="imap")

    def reload(self):
        self.replace_workers(signal.SIGHUP)

    def note_ending(self):
        """For log_is_clean. A login process that has only just started when the others end, or are
        replaced by a reload, loses the processes that it talks to: the configuration, the
        authentication, the statistics. It says so, on stock too. From then on, until Dovecot is
        started again, only how a process ended counts as bad."""
        with open(self._log, "a") as log:
            log.write("ends\n")

    def log_is_clean(self):
        ending, bad = False, []
        for line in self._log.read_text(errors="replace").splitlines():
            if line == "ends" or "SIGHUP received" in line:
                ending = True
            if " starting up for " in line:
                ending = False
            if re.search("Panic|killed with signal", line) or (
                    not ending and re.search("Error|Fatal", line)):
                bad.append(line)
        assert not bad, "\n".join(bad[:5])
        return True


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def test(prepared, work):
    need("dovecot", "dovecot-imapd", "dovecot")
    need_root(AS_DEBIAN_DOES)
    print_version("dovecot", "--version")
    run_rows(Dovecot, ROWS, prepared, work)
