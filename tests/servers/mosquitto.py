"""mosquitto from Debian's package, MQTT over TLS: one process, its own user.

On stock and preloaded:
- OpenSSL's own cache, and its own tickets, as they are when nobody sets anything: all.
- A reload (SIGHUP) keeps the contexts: all.

With a store, every session that resumes at all resumes always.
"""

import signal

from harness.packages import need, need_root

from .server import AS_DEBIAN_DOES, Server, copy_for, has_no_line, print_version
from .ways import Row, run_rows

IDS, TICKETS = "mosquitto, ids", "mosquitto, tickets"
ROWS = (
    Row(IDS, "1 process", "all all all", "all all all"),
    Row(TICKETS, "1 process", "all all all", "all all all"),
)

CONFIGURATION = """\
user mosquitto
log_dest stderr
listener {port} 127.0.0.1
allow_anonymous true
certfile {work}/certificate.pem
keyfile {dir}/key.pem
"""


class Mosquitto(Server):
    workers_wanted = 1

    def configure(self):
        copy_for("mosquitto", self.work / "key.pem", self.dir)
        (self.dir / "mosquitto.conf").write_text(CONFIGURATION.format(
            dir=self.dir, work=self.work, port=self.ports[self.rows[0]]))

    def launch(self):
        start = self.start if self.setup == TICKETS else self.start_ticketless
        start("mosquitto", "-c", self.dir / "mosquitto.conf")

    def serving(self):
        return self.mains

    def client_for(self, name):
        return self.client.of(application="mqtt", tickets=self.setup == TICKETS)

    def reload(self):
        self.until_logged(1, "Reloading config", self.signal_mains, signal.SIGHUP)

    def log_is_clean(self):
        return has_no_line("OpenSSL Error|Error:", self.output)


def test(prepared, work):
    need("mosquitto", "mosquitto", "mosquitto")
    need_root(AS_DEBIAN_DOES)
    print_version("sh", "-c", "mosquitto -h; true", word="version")
    run_rows(Mosquitto, ROWS, prepared, work)
