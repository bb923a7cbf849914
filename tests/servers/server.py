"""A server in one way and one setup: configured, started, reloaded, ended; its health and its logs.

A server's module derives a class from Server and defines

  configure   writes the configuration below `dir`, with `ports[row]` to listen on
  launch      starts the server: `start` for each process that is to have the library
  serving     the pids that make handshakes
  reload      makes it read its configuration again, and waits until it has

and again, where the defaults below do not fit, any of the rest.
"""

import contextlib
import os
import re
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from harness import processes
from harness.network import free_port, is_listening
from harness.processes import alive, all_dead, children, dead, family
from harness.run import result, run
from harness.tls import Client, make_key_file
from harness.verdicts import Skipped, check, happens, wait_until


@dataclass(frozen=True)
class Prepared:
    """Made once, for all servers."""

    library: Path
    client: Client

# Most servers drop to a user of their own, in a chroot: only root sees that.
AS_DEBIAN_DOES = "start it as Debian does, with users and a chroot"


class Server:
    workers_wanted = 2
    workers_stay = True  # a worker serves connections until it is told to end
    through = ()  # a command that starts the server, to give it another user
    with_store = {}  # variables that it needs besides to share sessions

    def __init__(self, rows, way, prepared, work):
        """rows: of one setup, for each of which it listens on a port. work: the server's folder,
        which its runs share."""
        self.rows, self.way, self.stage = rows, way, "start"
        self.setup = rows[0].setup
        self.library, self.client = prepared.library, prepared.client
        self.work = work
        # Short, because the path of a socket below it has at most 107 characters.
        self.dir = work / f"{re.sub('[, ]', '_', self.setup.partition(', ')[2] or 'run')}-{way}"
        self.dir.mkdir(mode=0o711)
        self.env = self._env_of_way()
        self.ports = {row: free_port() for row in rows}
        self.workers = []  # pids that make handshakes
        self._started = []  # processes

    @property
    def mains(self):
        """The pids of the processes that `start` started."""
        return [process.pid for process in self._started]

    def __str__(self):
        return f"{self.setup}, {self.way}, {self.stage}"

    def _env_of_way(self):
        if self.way == "stock":
            return {}
        env = {"LD_PRELOAD": str(self.library), "SESSCACHE_LOG": str(self.dir / "sesscache.log")}
        if self.way == "store":
            make_key_file(self.dir / "store.key")
            env["SESSCACHE_STORE"] = f"file:{self.dir}/store?size=8MiB"
            env["SESSCACHE_KEY_FILE"] = str(self.dir / "store.key")
            env |= self.with_store
        return env

    # --- defaults -------------------------------------------------------------------------------

    def serving(self):
        """Its workers; none while a main process that becomes a daemon has not said who it is."""
        return [worker for main in self.mains[:1] for worker in children(main)]

    def client_for(self, name):
        """The client that asks for the server by this name."""
        return self.client.of(name=name)

    def place_to_save(self, row):
        """The port at which the session is made that is offered at the row's own."""
        return self.ports[row]

    def log_is_clean(self):
        """Whether nothing in the server's log says that something went wrong."""
        return True

    def note_ending(self):
        """Called right before the server is stopped or killed."""

    # --- processes ------------------------------------------------------------------------------

    @property
    def output(self):
        """The server's stdout and stderr."""
        return self.dir / "output.log"

    def start(self, *words, env=None):
        """In the background, with the additions of the way to its environment.

        In a session of its own, because Apache signals its group."""
        self._started.append(processes.start(*words, log=self.output, through=self.through,
                                             env=self.env | (env or {})))

    def start_ticketless(self, *words):
        """For servers that have no setting for tickets. A configuration of OpenSSL turns them off
        in every context, so that TLS 1.3 asks the cache."""
        settings = self.dir / "openssl.cnf"
        settings.write_text("openssl_conf = settings\n"
                            "[settings]\nssl_conf = contexts\n"
                            "[contexts]\nsystem_default = every_context\n"
                            "[every_context]\nOptions = -SessionTicket\n")
        self.start(*words, env={"OPENSSL_CONF": str(settings)})

    def test_configuration(self, *words):
        """Runs a command that reads it and ends, in the environment of the server."""
        done = result(*words, env=self.env)
        with open(self.output, "a") as log:
            log.write(done.stdout + done.stderr)
        assert done.returncode == 0, f"{words[0]} ended with {done.returncode}"

    def signal_mains(self, number):
        for process in self._started:
            process.send(number)

    def until_logged(self, count, pattern, function, *arguments):
        """Calls the function, and waits until the output has that many more such lines."""
        wanted = count + self._times_logged(pattern)
        function(*arguments)
        wait_until(10, self._logged, pattern, wanted)

    def _logged(self, pattern, wanted):
        return self._times_logged(pattern) >= wanted

    def _times_logged(self, pattern):
        return len(lines_with(pattern, self.output)) if self.output.exists() else 0

    # --- up and down ----------------------------------------------------------------------------

    def bring_up(self):
        self.launch()
        for port in self.ports.values():
            wait_until(10, is_listening, port)
        wait_until(10, self.workers_are_there)

    def workers_are_there(self):
        self.workers = self.serving()
        found = len(self.workers)
        assert found == self.workers_wanted, f"{found} workers, not {self.workers_wanted}"
        return True

    def bring_down(self):
        """Asks each process to end, and then kills it. Processes below it may end by themselves."""
        everybody = family(*self.mains)
        self.note_ending()
        for process in self._started:
            if process.alive():
                process.send(signal.SIGTERM)
            check(f"{self.setup}, {self.way}: process {process.pid} ends when asked",
                  wait_until, 10, process.dead)
        if not happens(5, all_dead, everybody):
            self._kill(everybody)
        self._kill_all()

    def kill(self):
        """All at once, with SIGKILL."""
        self.note_ending()
        self._kill_all()

    def _kill_all(self):
        processes.kill_families(self._started)
        self._started = []

    @staticmethod
    def _kill(pids):
        """Those that left the session of their main process, which has ended."""
        for pid in filter(alive, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(5, all_dead, pids)

    def replace_workers(self, number):
        """A reload by signal, as most servers have it. Waits until the old workers are gone and the
        new ones there."""
        old = self.workers
        self.signal_mains(number)
        for pid in old:
            wait_until(10, dead, pid)
        wait_until(10, self.workers_are_there)

    # --- health ---------------------------------------------------------------------------------

    def check_health(self):
        assert all(map(alive, self.mains)), f"a process has died, of {self.mains}"
        if self.workers_stay:
            check(f"{self}: every worker lives", self._has_same_workers)
        else:
            check(f"{self}: there are {self.workers_wanted} workers",
                  wait_until, 5, self.workers_are_there)
        # A worker that is only just starting has mapped nothing yet.
        check(f"{self}: every process maps what the way says", wait_until, 5, self._maps_fit_way)

    def _has_same_workers(self):
        now = self.serving()
        assert now == self.workers, f"they were {self.workers}, and are {now}"
        return True

    def _maps_fit_way(self):
        """Each process maps the library unless the way is stock, and the store only if the way is
        store."""
        for pid in (*self.mains, *self.workers):
            found = ("store" if processes.maps(pid, str(self.dir / "store"))
                     else "preload" if processes.maps(pid, "libsesscache") else "stock")
            assert found == self.way, f"process {pid} runs as in the way {found}"
        return True

    def library_is_content(self):
        log = self.dir / "sesscache.log"
        said = log.read_text() if log.exists() else ""
        assert not said, said
        return True

    def ends_of_logs(self):
        return "\n".join(f"{log.name}: {line}" for log in sorted(self.dir.glob("*.log"))
                         for line in log.read_text(errors="replace").splitlines()[-5:])


# --- for the modules of servers -----------------------------------------------------------------

def print_version(*words, word=""):
    """The first line that the command says, or the first with the word."""
    print(next(line for line in run(*words).splitlines() if word in line), flush=True)


def lines_with(pattern, log):
    """The log's lines in which the pattern is found."""
    return [line for line in log.read_text(errors="replace").splitlines()
            if re.search(pattern, line)]


def has_no_line(pattern, log):
    found = lines_with(pattern, log)
    assert not found, "\n".join(found[:5])
    return True


def start_backend(work):
    """A proxy passes requests on to it, in all ways. Its port of 127.0.0.1."""
    port = free_port()
    pages = work / "pages"
    pages.mkdir()
    (pages / "index.html").write_text("ok\n")
    processes.start(sys.executable, "-m", "http.server", "--bind", "127.0.0.1",
                    "--directory", pages, port, log=work / "backend.log")
    if not happens(10, is_listening, port):
        raise Skipped("python3 serves no pages to pass on")
    return port


def copy_for(user, source, folder):
    """A copy of the file in the folder, which belongs to the user and is for nobody else."""
    copy = folder / source.name
    shutil.copyfile(source, copy)
    copy.chmod(0o600)
    shutil.chown(copy, user)
