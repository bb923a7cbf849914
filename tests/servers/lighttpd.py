"""lighttpd from Debian's package: two workers, with mod_openssl, which it loads as a module.

On stock and preloaded:
- The feature ssl.session-cache leaves OpenSSL's cache on, one in each worker: about half.
- Without it the cache is off: none.
- A reload (SIGUSR1) is a new start of the server in its process: none.

With a store, every session that resumes at all resumes always. lighttpd sets its certificates for each
connection (SSL_CTX_set_cert_cb), so SESSCACHE_NAMESPACE has to name the service.
"""

import signal

from harness.packages import need, need_root

from .server import AS_DEBIAN_DOES, Server, copy_for, has_no_line, print_version
from .ways import Row, run_rows

CACHED, DEFAULT = "lighttpd, ssl.session-cache", "lighttpd, default"
ROWS = (
    Row(CACHED, "2 workers", "some some all", "none none all"),
    Row(DEFAULT, "2 workers", "none none none", "none none none"),
)

CONFIGURATION = """\
server.modules = ("mod_openssl")
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{dir}/pages"
server.pid-file = "{dir}/lighttpd.pid"
server.username = "www-data"
server.groupname = "www-data"
server.max-worker = 2
server.feature-flags = ({feature} "server.graceful-shutdown-timeout" => 5)
index-file.names = ("index.html")
ssl.engine = "enable"
ssl.pemfile = "{dir}/both.pem"
ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1.2", "Options" => "-SessionTicket")
"""


class Lighttpd(Server):
    with_store = {"SESSCACHE_NAMESPACE": "lighttpd"}

    def configure(self):
        pages = self.dir / "pages"
        pages.mkdir(mode=0o755)
        (pages / "index.html").write_text("ok\n")
        # Read again after a reload, by the user that the server has become.
        copy_for("www-data", self.work / "both.pem", self.dir)
        (self.dir / "lighttpd.conf").write_text(CONFIGURATION.format(
            dir=self.dir, port=self.ports[self.rows[0]],
            feature='"ssl.session-cache" => "enable",' if self.setup == CACHED else ""))

    def launch(self):
        self.start("lighttpd", "-D", "-f", self.dir / "lighttpd.conf")

    def reload(self):
        self.test_configuration("lighttpd", "-tt", "-f", self.dir / "lighttpd.conf")
        self.replace_workers(signal.SIGUSR1)

    def log_is_clean(self):
        return has_no_line("SSL: .*error|died|segfault", self.output)


def test(prepared, work):
    need("lighttpd", "lighttpd", "lighttpd")
    need("/usr/lib/lighttpd/mod_openssl.so", "lighttpd-mod-openssl")
    need_root(AS_DEBIAN_DOES)
    print_version("lighttpd", "-v")
    run_rows(Lighttpd, ROWS, prepared, work)
