"""nginx from Debian's package, with each kind of ssl_session_cache, one worker and two.

On stock and preloaded:
- builtin is a cache in each worker: all with one worker. With two, only the worker that has the
  session resumes it: about half, 20 to 32 as seen. An idle kernel wakes the same worker each time,
  and nginx stands back after 16 accepts (ngx_reorder_accept_events). So 50 in a row meet both:
  neither none nor all.
- shared is nginx's own zone, behind the three callbacks: all.
- builtin shared has both: all. In one world the builtin copy resumes them, in the other the zone.
- none and off were asked for no resumption: none.
- After a reload builtin is empty and shared is not.
- After a reload builtin shared on stock has lost everything. The old worker's SSL_CTX_free calls
  remove_cb for each builtin session, and that deletes it from the zone.
- With our cache a new session survives that reload. nginx's new_cb returns 0, so by the contract
  (docs/CONTRACT.md, clause 3) our cache holds no session of its own making.
- A session that has been looked up since is cached by clause 8, and goes with the context as on
  stock: never fewer than stock. Two workers may both have looked it up, or one; with one worker the
  figure is the same each time.

With a store, every session that resumes at all resumes always. There are limits:
- Under another name a session resumes only in the worker that made it, as on stock.
- A virtual host that began to ask for client certificates meanwhile resumes none.
- Where a host asks, a worker learns by a full handshake under each name which host that leads to.
- A client's certificate is verified again, and a host that asks nobody trusts no issuer.
"""

import os
import signal

from harness.packages import need
from harness.verdicts import check

from .server import Server, has_no_line, print_version
from .ways import PROTOCOLS, TRIES, Course, Row, run_rows

ONE, TWO = "nginx, 1 worker", "nginx, 2 workers"
# "second name" is the second virtual host of its port, reached through SNI: the session must go to
# the cache of the context that the connection began with. "other name" offers at the second virtual
# host a session of the first. OpenSSL lets it through (RFC 6066 section 3 does not); the store must
# not add to that.
ROWS = (
    Row(ONE, "builtin", "all all all", "none none all"),
    Row(ONE, "shared", "all all all", "all all all"),
    Row(ONE, "shared", "all all all", "all all all", variant="used"),
    Row(ONE, "builtin shared", "all all all", "none none all"),
    Row(ONE, "builtin shared", "all all all", "any any all", variant="used"),
    Row(ONE, "none", "none none none", "none none none"),
    Row(ONE, "off", "none none none", "none none none"),
    Row(TWO, "builtin", "some some all", "none none all"),
    Row(TWO, "builtin", "some some all", "none none all", variant="second name"),
    Row(TWO, "builtin", "some some some", "none none none", variant="other name"),
    Row(TWO, "shared", "all all all", "all all all"),
    Row(TWO, "builtin shared", "all all all", "none none all"),
    Row(TWO, "none", "none none none", "none none none"),
    Row(TWO, "off", "none none none", "none none none"),
)
ASKING = Row("nginx, a host begins to ask", "builtin", variant="second name")

CONFIGURATION = """\
daemon off;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    ssl_certificate {work}/certificate.pem;
    ssl_certificate_key {work}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets off;
    client_body_temp_path {dir}/client_body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
{hosts}}}
"""
VIRTUAL_HOST = """\
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {name};
        ssl_session_cache {cache};
        {asking}
        return 200 "ok\\n";
    }}
"""
ASKS = "ssl_verify_client optional; ssl_client_certificate {work}/certificate.pem;"


class Nginx(Server):
    second_asks = False  # the second virtual host asks for client certificates
    certificate = None   # the client's

    def client_for(self, name):
        return super().client_for(name).of(certificate=self.certificate)

    @property
    def workers_wanted(self):
        return 1 if self.setup == ONE else 2

    def configure(self):
        user = "user www-data;" if os.geteuid() == 0 else ""
        hosts = "".join(self._virtual_host(row, name)
                        for row in self.rows for name in ("first.test", "second.test"))
        (self.dir / "nginx.conf").write_text(CONFIGURATION.format(
            workers=self.workers_wanted, dir=self.dir, work=self.work, user=user, hosts=hosts))

    def _virtual_host(self, row, name):
        port = self.ports[row]
        cache = {"shared": f"shared:alone{port}:1m",
                 "builtin shared": f"builtin shared:both{port}:1m"}.get(row.config, row.config)
        asking = ASKS.format(work=self.work) if self.second_asks and name == "second.test" else ""
        return VIRTUAL_HOST.format(port=port, name=name, cache=cache, asking=asking)

    @property
    def _words(self):
        return ("nginx", "-e", self.dir / "error.log", "-p", self.dir,
                "-c", self.dir / "nginx.conf")

    def launch(self):
        self.start(*self._words)

    def reload(self):
        """The test of the configuration makes and frees every context: it must not cost a
        session."""
        self.test_configuration(*self._words, "-t")
        self.replace_workers(signal.SIGHUP)

    def log_is_clean(self):
        """A worker that crashed shows as an alert, and nginx starts another."""
        return has_no_line(r"\[(error|crit|alert|emerg)\]|exited on signal",
                           self.dir / "error.log")


def test(prepared, work):
    need("nginx", "nginx", "nginx")
    print_version("nginx", "-v")
    if "store" in run_rows(Nginx, ROWS, prepared, work):
        asking_changes(Nginx([ASKING], "store", prepared, work))


def asking_changes(server):
    """The second host begins to ask, goes on asking, and asks no more."""
    stages = {
        "before": (False, "all resume before it does", TRIES),
        "asks": (True, "none resume there then", 0),
        "goes on": (True, "all but the first of each worker resume when it goes on",
                    TRIES - server.workers_wanted),
        "asks no more": (False, "none resume when it asks no more", 0),
    }
    server.certificate = server.work / "both.pem"
    course = Course(server)
    course.go(lambda _: [through_stage(course, name, *rest) for name, rest in stages.items()])
    for protocol in PROTOCOLS:
        figures = ", ".join(f"{name} {course.figures[ASKING, protocol, name]}" for name in stages)
        print(f"{server.setup}, TLS {protocol}: of {TRIES}, resumed, {figures}")


def through_stage(course, name, asks, what, least):
    """Starts the server again, unless it is the first stage. Least 0 is none."""
    def start_again():
        if name != "before":
            course.server.bring_down()
            course.server.second_asks = asks
            course.server.configure()
            course.server.bring_up()

    course.stage(name, start_again)
    figures = [course.figures[ASKING, protocol, name] for protocol in PROTOCOLS]
    check(f"{course.server.setup}: {what}", resumed, figures, least)


def resumed(figures, least):
    """In every protocol at least so many; if that is 0, none."""
    good = "error" not in figures and (min(figures) >= least if least else max(figures) == 0)
    assert good, f"resumed {figures}"
    return True
