"""Apache's mod_ssl from Debian's package: two processes of the event and the prefork module, which
the root process starts and which run as www-data, and each kind of SSLSessionCache.

On stock and preloaded:
- shmcb is the processes' common cache, behind the three callbacks: all. A graceful restart makes
  a new one: none.
- none was asked for no resumption: none. The same holds for nonenotnull, which gives ids that it
  does not keep.
- A session of one virtual host is offered to another: none, because the host's name and port are
  mod_ssl's session id context.

With a store, every session that resumes at all resumes always.
"""

import signal

from harness.packages import need, need_root

from .server import AS_DEBIAN_DOES, Server, has_no_line, print_version
from .ways import Row, run_rows

EVENT, PREFORK = "apache2, event", "apache2, prefork"
ROWS = (
    Row(EVENT, "shmcb", "all all all", "none none all"),
    Row(EVENT, "shmcb", "all all all", "none none all", variant="second name"),
    Row(EVENT, "shmcb", "none none none", "none none none", variant="other name"),
    Row(PREFORK, "shmcb", "all all all", "none none all"),
    Row("apache2, no cache", "none", "none none none", "none none none"),
    Row("apache2, ids alone", "nonenotnull", "none none none", "none none none"),
)

CONFIGURATION = """\
ServerRoot {dir}
ServerName first.test
DefaultRuntimeDir {dir}
PidFile {dir}/apache2.pid
ErrorLog {dir}/error.log
LoadModule mpm_{mpm}_module {modules}/mod_mpm_{mpm}.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
User www-data
Group www-data
DocumentRoot {dir}/empty
StartServers 2
ServerLimit 2
MaxConnectionsPerChild 0
<IfModule mpm_event_module>
    ThreadsPerChild 4
    MaxRequestWorkers 8
    MinSpareThreads 5
    MaxSpareThreads 16
</IfModule>
<IfModule mpm_prefork_module>
    MaxRequestWorkers 2
    MinSpareServers 2
    MaxSpareServers 3
</IfModule>
SSLSessionCache {cache}
SSLSessionTickets off
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLCertificateFile {work}/certificate.pem
SSLCertificateKeyFile {work}/key.pem
"""
VIRTUAL_HOST = """\
<VirtualHost 127.0.0.1:{port}>
    ServerName {name}
    SSLEngine on
</VirtualHost>
"""


class Apache(Server):
    def configure(self):
        pages = self.dir / "empty"
        pages.mkdir(mode=0o755)
        (pages / "index.html").write_text("ok\n")
        # SSLSessionCache is one for the whole server.
        cache = self.rows[0].config
        (self.dir / "apache2.conf").write_text(CONFIGURATION.format(
            dir=self.dir, work=self.work, modules="/usr/lib/apache2/modules",
            mpm="prefork" if self.setup == PREFORK else "event",
            cache=f"shmcb:{self.dir}/cache(512000)" if cache == "shmcb" else cache)
            + "".join(map(self._virtual_hosts, self.rows)))

    def _virtual_hosts(self, row):
        port = self.ports[row]
        return f"Listen 127.0.0.1:{port}\n" + "".join(
            VIRTUAL_HOST.format(port=port, name=name) for name in ("first.test", "second.test"))

    @property
    def _words(self):
        return "apache2", "-d", self.dir, "-f", self.dir / "apache2.conf"

    def launch(self):
        self.start(*self._words, "-DFOREGROUND")

    def reload(self):
        self.test_configuration(*self._words, "-t")
        self.replace_workers(signal.SIGUSR1)

    def log_is_clean(self):
        # AH00161: as many processes as the configuration allows are at work, which is meant.
        return has_no_line(r":(error|crit|alert|emerg)\](?!.* AH00161: )|exit signal",
                           self.dir / "error.log")


def test(prepared, work):
    need("apache2", "apache2", "apache2")
    need_root(AS_DEBIAN_DOES)
    print_version("apache2", "-v")
    run_rows(Apache, ROWS, prepared, work)
