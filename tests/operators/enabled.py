"""A server of a machine: its clients, and what it goes through while they keep their sessions."""

from harness.run import run
from harness.verdicts import happens, wait_until

from .services import CERTIFICATE, KEY

COUNT = 20
ELSEWHERE = "other host"


def way_of(protocol, tickets):
    return f"TLS {protocol} {'ticket' if tickets else 'id'}"


def version(machine, package):
    """That of upstream."""
    said = machine.do("dpkg-query", "-W", "-f", "${Version}", package)
    upstream = said.partition(":")[2] or said
    return upstream.partition("-")[0].partition("+")[0]


class Server:
    """A service of a machine."""

    def __init__(self, service, machine, client):
        self.service, self.machine = service, machine
        self.client = client

    def clients(self):
        through = self.machine.through()
        for protocol, tickets in self.service.ways:
            yield way_of(protocol, tickets), self.client.of(
                protocol=protocol, tickets=tickets, through=through,
                application=self.service.application,
                certificate=self._certificate() if self.service.shows else None)

    def _certificate(self):
        """The machine's own, for its clients, too."""
        file = self.machine.folder / "shown.pem"
        file.write_text("".join(self.machine.path(part).read_text() for part in (KEY, CERTIFICATE)))
        return file

    def set_up(self, others):
        """As an operator does it on a fresh machine. Debian starts all servers, and two want port 80."""
        self.machine.do("systemctl", "stop", *(other.unit for other in others), status=None)
        self.machine.do("sh", "-euc", self.service.setup)
        self.restart()

    # --- events ---------------------------------------------------------------------------------

    def events(self):
        unit = self.service.unit
        yield "at rest", lambda: None
        if self.machine.do("systemctl", "show", "-P", "CanReload", unit).strip() == "yes":
            yield "reload", self.reload
        yield "restart", self.restart
        if self.service.upgrades:
            yield "upgrade", self.upgrade

    def reload(self):
        before = self._reloads()
        self.machine.do("systemctl", "reload", self.service.unit)
        if self.service.reloaded:
            wait_until(20, lambda: self._reloads() > before)

    def _reloads(self):
        """How many there were, for a server whose processes stay."""
        if not self.service.reloaded:
            return 0
        return int(self.machine.do("sh", "-c", self.service.reloaded, status=None))

    def restart(self):
        # systemd counts starts, and refuses the sixth in ten seconds.
        self.machine.do("systemctl", "reset-failed", self.service.unit, status=None)
        self.machine.do("systemctl", "restart", self.service.unit)

    def upgrade(self):
        """What the package's scripts do when it is installed anew."""
        main = self.machine.path("/run/nginx.pid")
        before = main.read_text()
        self.machine.do("/etc/init.d/nginx", "upgrade")
        wait_until(20, lambda: main.exists() and main.read_text() not in ("", before))

    def take(self, said):
        """The step that the command names in its last line."""
        self.machine.do("systemctl", "reset-failed", self.service.unit, status=None)
        self.machine.do("sh", "-euc", said.splitlines()[-1].removeprefix("next: "))

    # --- sessions -------------------------------------------------------------------------------

    def counts(self, other, is_shared):
        """For each event and way, how many of COUNT sessions resume at their first offer after it.

        other: this server on another host, which gets the sessions at last. is_shared: whether they
        reach it at all, which may take a while."""
        found = {}
        for event, happen in self.events():
            for way, client in self.clients():
                found[event, way] = _count(self._after, event, happen, client)
        for (way, client), (_, elsewhere) in zip(self.clients(), other.clients()):
            found[ELSEWHERE, way] = _count(self._elsewhere, client, elsewhere, is_shared)
        return found

    def _after(self, event, happen, client):
        client.save(self.service.port, self._file, COUNT)
        old = self._workers()
        happen()
        if event != "at rest":
            happens(5, lambda: not old & self._workers())
        wait_until(30, self._is_up_for, client)
        return client.offer(self.service.port, self._file, COUNT)

    def _elsewhere(self, client, elsewhere, is_shared):
        port, last = self.service.port, f"{self._file}.last"
        client.save(port, self._file, COUNT)
        client.save(port, last)
        if is_shared:
            # The last one arrives behind the others.
            happens(20, lambda: elsewhere.offer(port, last, 1) == 1)
        return elsewhere.offer(port, self._file, COUNT)

    def over(self, happen):
        """How many of COUNT sessions resume after something that ends no process, for each way."""
        found = []
        for _, client in self.clients():
            client.save(self.service.port, self._file, COUNT)
            happen()
            found.append(client.offer(self.service.port, self._file, COUNT))
        return found

    @property
    def _file(self):
        return self.machine.folder / "sessions"

    def _workers(self):
        """The processes that serve, and end at a reload; the main one does not."""
        comm, main = self.service.serving, self.machine.do(
            "systemctl", "show", "-P", "MainPID", self.service.unit).strip()
        said = self.machine.do("pgrep", "-x", comm, status=None)
        return set(said.split()) - {main}

    def _is_up_for(self, client):
        try:
            return client.save(self.service.port, f"{self._file}.probe", 1)
        except AssertionError:
            return False

    def is_listening(self):
        """On IPv4 or IPv6."""
        return bool(run("ss", "-Hltn", f"sport = :{self.service.port}",
                        through=self.machine.through()).strip())

    def have_library(self):
        """The names of the processes of this server that have the library."""
        said = self.machine.do("sh", "-c", "grep -l libsesscache /proc/[0-9]*/maps 2>/dev/null |"
                               " sed 's/maps/comm/' | xargs -r cat", status=None)
        return sorted(set(said.split()))


def _count(function, *arguments):
    """A count, or the words of what went wrong."""
    try:
        return function(*arguments)
    except AssertionError as error:
        return str(error).strip().splitlines()[-1]
