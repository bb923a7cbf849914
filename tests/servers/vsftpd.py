"""vsftpd from Debian's package with require_ssl_reuse: a data connection must resume a session. The
listener makes the context as root. Each connection is a process of its own, forked from it, in an
empty chroot as nobody.

On stock and preloaded, a data connection is let through with the session of its own control
connection. With another session, or with none, it is not.

vsftpd must never be given a store, so there is no way with one here. It asks of a data connection
only whether some session was resumed (SSL_session_reused), not whose. The check rests on this: a
process knows only the sessions that it made itself. With a store each process knows all, and any
client's session would pass on everyone's data connection. (OpenSSL's stateless tickets have the
same fault on stock, since all processes inherit one key; here they are off.)
"""

import sys
from pathlib import Path

from harness.packages import need, need_root
from harness.run import run
from harness.tls import make_certificate
from harness.verdicts import check, same

from .server import AS_DEBIAN_DOES, Server, print_version
from .ways import PROTOCOLS, Course, Row, chosen, table_row

CLIENTS = 10
EXPECTED = f"own {CLIENTS}, another's 0, none 0"
FTP_CLIENT = Path(__file__).with_name("ftp_reuse.py")
CONTROL = Row("vsftpd", "control")

CONFIGURATION = """\
listen=YES
listen_ipv6=NO
listen_address=127.0.0.1
listen_port={port}
background=NO
seccomp_sandbox=NO
secure_chroot_dir={dir}/empty
nopriv_user=nobody
vsftpd_log_file={dir}/vsftpd.log
anonymous_enable=YES
no_anon_password=YES
anon_root={dir}/files
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file={work}/both.pem
"""


class Vsftpd(Server):
    workers_wanted = 1

    def configure(self):
        for name in ("empty", "files"):
            (self.dir / name).mkdir()
        (self.dir / "vsftpd.conf").write_text(CONFIGURATION.format(
            dir=self.dir, work=self.work, port=self.ports[CONTROL]))

    def launch(self):
        self.start_ticketless("vsftpd", self.dir / "vsftpd.conf")

    def serving(self):
        return self.mains

    def log_is_clean(self):
        return same("", self.output.read_text())


def test(prepared, work):
    need("vsftpd", "vsftpd", "vsftpd")
    need_root(AS_DEBIAN_DOES)
    print_version("sh", "-c", "vsftpd -v 0>&1")  # it writes to its standard input
    ways = chosen(prepared.library, ("stock", "preload"))
    make_certificate(work)
    for way in ways:
        Course(Vsftpd([CONTROL], way, prepared, work)).go(offer_data_connections)


def offer_data_connections(course):
    for protocol in PROTOCOLS:
        check(f"vsftpd, {course.server.way}, TLS {protocol}: let through: {EXPECTED}",
              are_let_through, course.server, protocol)
    course.server.check_health()


def are_let_through(server, protocol):
    found = run(sys.executable, FTP_CLIENT, server.ports[CONTROL], protocol, CLIENTS)
    table_row("data connections", protocol, server.way, found.strip(), "", "")
    return same(EXPECTED, found.strip())
