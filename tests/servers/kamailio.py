"""Kamailio from Debian's package: HTTP over its TLS, two processes for connections, its own user.

It has OpenSSL allocate in memory that all its processes share. One process makes the contexts of all,
at the start and at each `tls.reload`, and the last connection of an old one frees it.

Its contexts work as stock's, in all ways:
- A context for each process, with ticket keys of its own: about half.
- A reload makes new ones: none.
- The library says why in one line a start, and no session is shared.

A reload is ten here. A connection from before each goes on after it, on a context that nobody else uses
any more, and frees that. Nobody connects meanwhile: Kamailio 5.6 may free a context twice then, and die,
also on stock.
"""

import shutil
import socket
import ssl

from harness.packages import need, need_root
from harness.run import run

from .server import AS_DEBIAN_DOES, Server, copy_for, has_no_line, print_version
from .ways import WAYS, Row, run_rows

ROWS = (
    Row("kamailio", "2 processes", "some some some", "none none none", "none none none"),
)

RELOADS = 10

CONFIGURATION = """\
#!KAMAILIO
log_stderror=yes
fork=yes
children=1
tcp_children=2
tcp_accept_no_cl=yes
enable_tls=yes
listen=tls:127.0.0.1:{port}
loadmodule "sl.so"
loadmodule "tls.so"
loadmodule "xhttp.so"
loadmodule "ctl.so"
modparam("ctl", "binrpc", "unix:{dir}/control")
modparam("tls", "config", "{dir}/tls.cfg")
request_route {{
    sl_send_reply("200", "OK");
}}
event_route[xhttp:request] {{
    set_reply_close();
    set_reply_no_connect();
    xhttp_reply("200", "OK", "text/plain", "ok\\n");
}}
"""

TLS_CONFIGURATION = """\
[server:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
private_key = {dir}/key.pem
certificate = {work}/certificate.pem
"""


class Kamailio(Server):
    workers_wanted = 7  # two for connections; timers, the control socket, and who hands connections on

    def configure(self):
        copy_for("kamailio", self.work / "key.pem", self.dir)
        for name, text in ("kamailio.cfg", CONFIGURATION), ("tls.cfg", TLS_CONFIGURATION):
            (self.dir / name).write_text(text.format(
                dir=self.dir, work=self.work, port=self.ports[self.rows[0]]))
        # It makes its first context when it has its own user.
        (self.dir / "sesscache.log").touch()
        shutil.chown(self.dir / "sesscache.log", "kamailio")
        self.starts = 0

    def launch(self):
        self.starts += 1
        self.start("kamailio", "-DD", "-E", "-u", "kamailio", "-g", "kamailio", "-m", "64", "-M", "8",
                   "-f", self.dir / "kamailio.cfg")

    def client_for(self, name):
        return self.client.of(tickets=True)

    def reload(self):
        for _ in range(RELOADS):
            open_before = self._connect()
            run("kamcmd", "-s", f"unix:{self.dir}/control", "tls.reload")
            for connection in open_before, self._connect():
                connection.sendall(b"GET / HTTP/1.0\r\nHost: first.test\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.0 200"), "no answer"
                connection.close()

    def _connect(self):
        context = ssl.create_default_context(cafile=self.work / "certificate.pem")
        plain = socket.create_connection(("127.0.0.1", self.ports[self.rows[0]]), timeout=10)
        return context.wrap_socket(plain, server_hostname="first.test")

    def log_is_clean(self):
        # At its end it may no longer remove its socket, because it has another user.
        return has_no_line("child process|core was|BUG|ERROR: (?!ctl)", self.output)

    def library_is_content(self):
        """It says why it does nothing, once a start."""
        said = (self.dir / "sesscache.log").read_text().splitlines()
        expected = 0 if self.way == WAYS[0] else self.starts
        assert len(said) == expected, said
        assert all("memory that its processes share" in line for line in said), said
        return True


def test(prepared, work):
    need("kamailio", "kamailio", "kamailio")
    need("kamcmd", "kamailio", "kamailio")
    need_root(AS_DEBIAN_DOES)
    print_version("kamailio", "-v", word="version")
    run_rows(Kamailio, ROWS, prepared, work)
