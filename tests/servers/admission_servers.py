"""The servers of the part `admission`: one worker each, and a port for each rule and way to carry
sessions. Where a server has no setting for tickets, or none for a port, it is run more than once.
"""

import os
import re
import shutil
import signal
from dataclasses import dataclass

from harness.network import is_listening
from harness.packages import need, need_root, unpack
from harness.processes import children
from harness.run import run
from harness.verdicts import Skipped, wait_until

from . import apache2, dovecot, haproxy, nginx, stunnel4
from .admission_rules import HAPROXY_ASKED, Rule, in_a_new_context
from .server import AS_DEBIAN_DOES, Server, has_no_line, start_backend

DIED = r"Segmentation|Panic|exit signal|exited on signal|killed with signal|INTERNAL ERROR"


@dataclass(frozen=True)
class Port:
    rule: Rule
    tickets: bool
    setup: str


class Admitting(Server):
    """What the seven have in common."""

    rules_changed = False
    shares = (True, False)  # of Port.tickets: where libssl keeps sessions for it
    application = "http"

    def __init__(self, ports, way, prepared, work, pki, facts):
        """facts: what `prepare` returned."""
        super().__init__(ports, way, prepared, work)
        self.pki, self.facts = pki, facts

    @property
    def workers_wanted(self):
        return 1

    def client_for(self, name):
        return self.client.of(name=name, application=self.application)

    def words_for(self, port):
        rule = port.rule
        words = rule.after if self.rules_changed else rule.before
        # A rule in JavaScript has braces of its own, none of which is doubled.
        for name, value in {"pki": self.pki, "dir": self.dir, **self.facts}.items():
            words = words.replace(f"{{{name}}}", str(value))
        return words

    @staticmethod
    def prepare(work):
        """Sees to the programs. What the configuration needs besides, by name."""
        raise NotImplementedError

    @staticmethod
    def as_it_is_here(table, prepared, work, pki):
        """The rules, where what comes of a client depends on the version."""
        return table

    def certificate_for(self, port):
        """The folder that the server's certificate is in."""
        return self.pki / "renewed" if port.rule.renews and self.rules_changed else self.pki

    def log_is_clean(self):
        return all(has_no_line(DIED, log) for log in self.dir.glob("*.log"))


# --- one process each ---------------------------------------------------------------------------

class Nginx(Admitting, nginx.Nginx):
    def configure(self):
        user = "user www-data;" if os.geteuid() == 0 else ""
        (self.dir / "nginx.conf").write_text(nginx.CONFIGURATION.format(
            workers=1, dir=self.dir, work=self.pki, user=user,
            hosts="".join(map(self._host, self.rows))))

    def _host(self, port):
        of = self.certificate_for(port)
        tickets = "on" if port.tickets else "off"
        return (f"server {{ listen 127.0.0.1:{self.ports[port]} ssl; server_name first.test;"
                f" ssl_certificate {of}/certificate.pem; ssl_certificate_key {of}/key.pem;"
                f" ssl_session_cache builtin; ssl_session_tickets {tickets};"
                f" {self.words_for(port)} return 200 \"ok\\n\"; }}\n")

    @staticmethod
    def prepare(work):
        need("nginx", "nginx", "nginx")
        return {}


class Haproxy(Admitting, haproxy.Haproxy):
    FRONTEND = """\
frontend {port}
    bind 127.0.0.1:{port} ssl crt {certificate}/both.pem {tickets} {words}
    http-request return status 200 content-type text/plain string ok
"""

    def configure(self):
        (self.dir / "empty").mkdir(exist_ok=True)
        head = haproxy.CONFIGURATION.partition("frontend")[0].replace(" no-tls-tickets", "")
        (self.dir / "haproxy.cfg").write_text(
            head.format(dir=self.dir, cache_size="") + "".join(map(self._frontend, self.rows)))

    def _frontend(self, port):
        return self.FRONTEND.format(
            port=self.ports[port], certificate=self.certificate_for(port),
            tickets="" if port.tickets else "no-tls-tickets", words=self.words_for(port))

    @staticmethod
    def prepare(work):
        need("haproxy", "haproxy", "haproxy")
        need_root(AS_DEBIAN_DOES)
        return {}

    @classmethod
    def as_it_is_here(cls, table, prepared, work, pki):
        ports = [Port(rule, False, "haproxy, asked") for rule in HAPROXY_ASKED]
        server = cls(ports, "stock", prepared, work, pki, {})
        client, file = server.client_for("first.test").of(protocol="1.2"), server.dir / "session"
        server.configure()
        server.bring_up()
        client.save(server.ports[ports[0]], file)
        same, another = (client.offer(server.ports[port], file, 1) for port in ports[1:])
        server.bring_down()
        assert same == 1, "the listeners of one process do not share its cache"
        return table if another else tuple(map(in_a_new_context, table))


class Apache(Admitting, apache2.Apache):
    HOST = """\
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
    ServerName first.test
    SSLEngine on
    SSLCertificateFile {certificate}/certificate.pem
    SSLCertificateKeyFile {certificate}/key.pem
    SSLSessionTickets {tickets}
    {words}
</VirtualHost>
"""

    def configure(self):
        pages = self.dir / "empty"
        pages.mkdir(mode=0o755, exist_ok=True)
        (pages / "index.html").write_text("ok\n")
        head = apache2.CONFIGURATION.replace("SSLSessionTickets off\n", "")
        head = re.sub("(StartServers|MinSpareThreads|MinSpareServers) .", r"\1 1", head)
        head = re.sub("SSLCertificate.*", "", head)
        head += "LoadModule dir_module {modules}/mod_dir.so\n"
        (self.dir / "apache2.conf").write_text(head.format(
            dir=self.dir, modules="/usr/lib/apache2/modules", mpm="event",
            cache=f"shmcb:{self.dir}/cache(512000)") + "".join(map(self._host, self.rows)))

    def _host(self, port):
        return self.HOST.format(
            port=self.ports[port], certificate=self.certificate_for(port),
            tickets="on" if port.tickets else "off", words=self.words_for(port))

    @staticmethod
    def prepare(work):
        need("apache2", "apache2", "apache2")
        need_root(AS_DEBIAN_DOES)
        return {}


class Stunnel(Admitting):
    GLOBAL = "foreground = yes\npid =\nsyslog = no\ndebug = info\nsslVersionMin = TLSv1.2\n"
    SERVICE = """\
[{port}]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{backend}
{identity}
{tickets}
{words}
"""

    def configure(self):
        """The folders keep their names, and get other files in them."""
        for name in ("cas", "crls"):
            shutil.rmtree(self.dir / name, ignore_errors=True)
            when = "after" if self.rules_changed else "before"
            shutil.copytree(self.pki / f"{name}_{when}", self.dir / name, symlinks=True)
        (self.dir / "stunnel.conf").write_text(self.GLOBAL + "".join(map(self._service, self.rows)))

    def _service(self, port):
        words = self.words_for(port)
        return self.SERVICE.format(
            port=self.ports[port], backend=self.facts["inside"], words=words,
            tickets="" if port.tickets else "options = NO_TICKET",
            identity="" if "PSK" in words else f"cert = {self.certificate_for(port)}/both.pem")

    def launch(self):
        self.start("stunnel4", self.dir / "stunnel.conf")

    def serving(self):
        return self.mains

    def reload(self):
        self.until_logged(len(self.rows), stunnel4.BOUND, self.signal_mains, signal.SIGHUP)

    @staticmethod
    def prepare(work):
        """Inside there is a page, outside there is none."""
        need("stunnel4", "stunnel4", "stunnel4")
        inside = start_backend(work)
        (work / "outside").mkdir()
        outside = start_backend(work / "outside")
        (work / "outside" / "pages" / "index.html").rename(work / "outside" / "no.html")
        shutil.rmtree(work / "outside" / "pages")
        return {"inside": inside, "outside": outside}


class Node(Admitting):
    PROGRAM = """\
const fs = require('fs'), https = require('https');
const [, , configuration, pki] = process.argv;
const read = name => fs.readFileSync(`${pki}/${name}`);
let servers = [];
const serve = (port, options) => servers.push(https.createServer(options, (_, answer) => {
  answer.setHeader('Connection', 'close');
  answer.end('ok');
}).listen(port, '127.0.0.1'));
const configure = () => eval(fs.readFileSync(configuration, 'utf8'));
configure();
process.on('SIGHUP', () => {
  let open = servers.length;
  const old = servers;
  servers = [];
  const closed = () => {
    if (--open === 0) {
      configure();
      console.log('again');
    }
  };
  old.forEach(server => server.close(closed));
});
process.on('SIGTERM', () => process.exit(0));
"""
    NO_TICKET = 0x4000
    LIBRARIES = ("libuv1", "libc-ares2", "node-acorn", "node-cjs-module-lexer", "node-undici")
    shares = (False,)  # it has ticket keys of its own, and draws them when it starts

    @property
    def through(self):
        return self.facts["through"]

    def configure(self):
        (self.dir / "server.js").write_text(self.PROGRAM)
        (self.dir / "configuration.js").write_text("".join(map(self._serve, self.rows)))

    def _serve(self, port):
        of = os.path.relpath(self.certificate_for(port), self.pki)
        return (f"serve({self.ports[port]}, {{ minVersion: 'TLSv1.2', secureOptions:"
                f" {0 if port.tickets else self.NO_TICKET}, key: read('{of}/key.pem'),"
                f" cert: read('{of}/certificate.pem'), {self.words_for(port)} }});\n")

    def launch(self):
        self.start("node", self.dir / "server.js", self.dir / "configuration.js", self.pki)

    def serving(self):
        return self.mains

    def reload(self):
        self.until_logged(1, "^again$", self.signal_mains, signal.SIGHUP)
        for port in self.ports.values():
            wait_until(5, is_listening, port)

    @staticmethod
    def prepare(work):
        """Debian's, which uses the machine's libssl. If another is installed, which brings its
        own, Debian's is laid over it where the server alone sees it."""
        node = need("node", "nodejs")
        if "libssl.so" in run("ldd", node):
            return {"through": ()}
        found = re.search("^Version: (.*)", run("apt-cache", "show", "libnode108", status=None),
                          re.M)
        if not found:
            raise Skipped(f"{node} does not use the machine's libssl, and there is no libnode108")
        need_root("lay Debian's package over another")
        unpack(work / "debian", f"nodejs={found[1]}", f"libnode108={found[1]}", *Node.LIBRARIES)
        over = f'mount -t overlay none -o lowerdir={work}/debian/usr:/usr /usr && exec "$@"'
        return {"through": ("unshare", "--mount", "sh", "-c", over, "sh")}


# --- a process for each way to carry sessions ---------------------------------------------------

class Mosquitto(Admitting):
    LISTENER = "listener {port} 127.0.0.1\nallow_anonymous true\n{identity}\n{words}\n"
    application = "mqtt"
    workers_wanted = 2

    FILES = {"clients.pem": ("clients.pem", "clients.pem"), "now.crl": ("none.crl", "one.crl"),
             "now.pem": ("both_cas.pem", "clients.pem"), "now.psk": ("both.psk", "alice.psk")}

    def configure(self):
        for name, sources in self.FILES.items():
            shutil.copy(self.pki / sources[self.rules_changed], self.dir / name)
        for tickets in (True, False):
            self._file(tickets).write_text(
                "per_listener_settings true\nuser root\nlog_dest stderr\n"
                + "".join(self._listener(port) for port in self.rows if port.tickets == tickets))

    def _file(self, tickets):
        return self.dir / ("tickets.conf" if tickets else "ids.conf")

    def _listener(self, port):
        words, of = self.words_for(port), self.certificate_for(port)
        return self.LISTENER.format(
            port=self.ports[port], words=words, identity="" if "psk" in words else
            f"certfile {of}/certificate.pem\nkeyfile {of}/key.pem")

    def reload(self):
        self.until_logged(2, "Reloading config", self.signal_mains, signal.SIGHUP)

    def launch(self):
        self.start("mosquitto", "-c", self._file(True))
        self.start_ticketless("mosquitto", "-c", self._file(False))

    def serving(self):
        return self.mains

    @staticmethod
    def prepare(work):
        need("mosquitto", "mosquitto", "mosquitto")
        need_root("read the keys that it is given")
        return {}


class Dovecot(Admitting, dovecot.Dovecot):
    workers_stay = True
    application = "imap"

    @property
    def workers_wanted(self):
        return len(self.rows)

    def configure(self):
        for port in self.rows:
            folder = self._folder(port)
            folder.mkdir(exist_ok=True)
            text = dovecot.CONFIGURATION
            if port.tickets:
                text = text.replace("ssl_options = no_ticket\n", "")
            text = text.replace("process_min_avail = 2", "process_min_avail = 1")
            text = text.replace("instance_name = {dir.name}", f"instance_name = {folder.name}")
            (folder / "dovecot.conf").write_text(dovecot.configuration(
                self.env, text, dir=folder, work=self.pki, count=0, limit=1, port=self.ports[port])
                + self.words_for(port))

    def words_for(self, port):
        words = super().words_for(port)
        return dovecot.since_2_4(words) if dovecot.is_2_4() else words

    def _folder(self, port):
        return self.dir / f"{self.rows.index(port)}"

    def launch(self):
        for port in self.rows:
            self.start("dovecot", "-F", "-c", self._folder(port) / "dovecot.conf")

    def serving(self):
        return [pid for main in self.mains for pid in children(main)
                if dovecot.name_of(pid) == "imap-login"]

    def note_ending(self):
        """The instances take a second each to end: all at once."""
        self.signal_mains(signal.SIGTERM)

    def log_is_clean(self):
        return all(has_no_line(DIED, log) for log in self.dir.glob("*/*.log"))

    @staticmethod
    def prepare(work):
        need("dovecot", "dovecot-imapd", "dovecot")
        need_root(AS_DEBIAN_DOES)
        return {}
