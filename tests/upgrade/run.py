#!/usr/bin/env python3
"""Two builds of the library at once, on one store and one key file: of another commit (old) and of this one.

    tests/upgrade/run.py [PART...]

  BASE                    the other commit (efe3c6b, whose store this version replaces)
  LIBDIR, SESSCACHE_LIB   the library of this commit, if not that of target/release

nginx and a server with threads run with one build beside the other, in both orders, and then nginx whose
library file is replaced while it runs: it is reloaded, and then upgraded (USR2). Last, the second asks for
another size of store. A build that finds a store of another layout puts one of its own in place, the old
build as well (a way back); the other goes on with what it has mapped. Clients shake hands all the time.

Nobody dies, no connection fails, the sessions of a build resume with it, and with the other they resume or
get a full handshake. A process writes at most one line. The new build writes one if it comes second and
neither resumes sessions of the other. An old build knows no line for that. If one has replaced the other's
store, each writes one, and the memory of the replaced store goes with the last process that has it mapped.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import built, processes, tls, verdicts
from harness.network import free_port, is_listening
from harness.packages import find, need
from harness.processes import alive, children, dead, family
from harness.run import run
from harness.verdicts import Unusable, at_most, check, same, wait_until

BASE = os.environ.get("BASE", "efe3c6b")
PROTOCOLS = ("1.2", "1.3")
COUNT = 30
LOAD_SECONDS = 6
# Of the store, whose layout is another one, or of its records.
TOLD = "another version of sesscache"

CONFIGURATION = """\
daemon on;
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
{user}
env LD_PRELOAD; env SESSCACHE_STORE; env SESSCACHE_KEY_FILE; env SESSCACHE_LOG;
events {{ worker_connections 256; }}
http {{
    access_log off;
    ssl_certificate {work}/certificate.pem;
    ssl_certificate_key {work}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets off;
    ssl_session_cache builtin;
    server {{ listen 127.0.0.1:{port} ssl; return 200 "ok\\n"; }}
}}
"""


@dataclass(frozen=True)
class Prepared:
    libraries: dict  # "old" and "new"
    client: tls.Client
    threads: Path


def prepare(folder):
    new = built.copy_library(folder)
    old = folder / "old.so"
    shutil.copyfile(build_base(folder), old)
    old.chmod(0o755)
    threads = folder / "threads_server"
    run(os.environ.get("CC", "cc"), "-O1", "-Wall", "-Wextra", "-Werror",
        Path(__file__).parent / "threads.c", "-o", threads, "-lssl", "-lcrypto", "-lpthread")
    return Prepared({"old": old, "new": new}, tls.build_client(folder), threads)


def build_base(folder):
    """The library of the other commit, from a git worktree that goes again."""
    tree, target = folder / "base", built.ROOT / "target" / "base"
    git = ("git", "-C", str(built.ROOT), "worktree")
    try:
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), BASE], check=True)
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--lib",
                        "--package", "sesscache"], cwd=tree, check=True,
                       env=os.environ | {"CARGO_TARGET_DIR": str(target)})
    except subprocess.CalledProcessError as error:
        raise Unusable(f"{BASE} was not built: {error}") from None
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=False)
    return target / "release" / "libsesscache.so"


# --- servers ------------------------------------------------------------------------------------

class Server:
    """With a copy of the library of its own. `work` has the store, the keys and the certificate."""

    def __init__(self, build, prepared, work):
        self.build, self.prepared, self.work = build, prepared, work
        self.dir = work / build
        self.dir.mkdir(mode=0o711)
        self.port, self.library = free_port(), self.dir / "libsesscache.so"
        self.use_library(build)
        self.log = self.dir / "sesscache.log"
        self.env = {"LD_PRELOAD": str(self.library), "SESSCACHE_LOG": str(self.log),
                    "SESSCACHE_STORE": f"file:{work}/store?size=8MiB",
                    "SESSCACHE_KEY_FILE": f"{work}/store.key"}

    def __str__(self):
        return f"{type(self).__name__}, {self.build}"

    def use_library(self, build):
        """Puts it in place as a package does."""
        new = self.dir / "new.so"
        shutil.copyfile(self.prepared.libraries[build], new)
        new.chmod(0o755)
        new.rename(self.library)

    def note_layout(self):
        """The store that it found or made, and its version."""
        self.store, self.layout = store_in(self.work)

    def lines(self):
        return self.log.read_text().splitlines() if self.log.exists() else []


class Threads(Server):
    def bring_up(self):
        self.process = processes.start(self.prepared.threads, 4, self.work / "certificate.pem",
                                       self.work / "key.pem", self.port, env=self.env,
                                       log=self.dir / "output.log")
        wait_until(10, is_listening, self.port)

    def lives(self):
        return self.process.alive()

    def renew(self):
        """It makes contexts all the time."""

    def bring_down(self):
        check(f"{self}: it ends in order", same, 0, self.process.end(seconds=5))


class Nginx(Server):
    def bring_up(self):
        user = "user www-data;" if os.geteuid() == 0 else ""
        (self.dir / "nginx.conf").write_text(CONFIGURATION.format(
            dir=self.dir, work=self.work, user=user, port=self.port))
        # By its path, as which it starts its successor.
        run(find("nginx"), "-e", self.dir / "error.log", "-c", self.dir / "nginx.conf", env=self.env)
        wait_until(10, is_listening, self.port)
        wait_until(10, self.lives)

    @property
    def main(self):
        return int((self.dir / "nginx.pid").read_text())

    def lives(self):
        return len(children(self.main)) == 2

    def renew(self):
        """A reload."""
        before = children(self.main)
        os.kill(self.main, signal.SIGHUP)
        wait_until(20, self.has_replaced, before)

    def has_replaced(self, before):
        now = children(self.main)
        return len(now) == 2 and not set(now) & set(before)

    def upgrade(self):
        """A new master from the files as they are now; the old one ends."""
        old = self.main
        os.kill(old, signal.SIGUSR2)
        wait_until(10, lambda: self.main != old)
        wait_until(10, self.lives)
        os.kill(old, signal.SIGQUIT)
        wait_until(20, dead, old)

    def bring_down(self):
        everybody = family(self.main)
        os.kill(self.main, signal.SIGQUIT)
        for pid in everybody:
            wait_until(20, dead, pid)
        errors = (self.dir / "error.log").read_text()
        check(f"{self}: nobody died", same, [],
              re.findall(r".*(?:exited on signal|\[(?:alert|emerg|crit)\]).*", errors))

    def kill(self):
        """A daemon is in no session of ours."""
        for file in self.dir.glob("nginx.pid*"):
            if (text := file.read_text()) and alive(int(text)):
                os.killpg(int(text), signal.SIGKILL)


# --- what they must do --------------------------------------------------------------------------

class Traffic:
    """Clients of two places, in both protocols, while the block runs and for LOAD_SECONDS at least."""

    def __init__(self, first, second):
        self.first, self.second, self.running = first, second, []

    def __enter__(self):
        client, work = self.first.prepared.client, self.first.work
        for protocol in PROTOCOLS:
            command = client.of(protocol=protocol).load_command(
                self.first.port, self.second.port, LOAD_SECONDS, work / f"load-{protocol}")
            log = work / f"load-{protocol}-{len(list(work.glob('*.log')))}.log"
            self.running.append(processes.start(*command, log=log))

    def __exit__(self, *_):
        for process in self.running:
            check("the clients end well", same, 0, process.status(LOAD_SECONDS + 30))
            for line in tls.load_lines(process.log.read_text()):
                check("no connection fails", same, 0, line["failed"])
                check("there were connections", line["connections"] > 10)


def sessions_fare(server, other):
    """The server's own sessions resume there. At the other, each connection works."""
    for protocol in PROTOCOLS:
        client, file = server.prepared.client.of(protocol=protocol), server.dir / "sessions"
        client.save(server.port, file, COUNT)
        at_other = client.offer(other.port, file, COUNT)
        client.save(server.port, file, COUNT)
        resumed = client.offer(server.port, file, COUNT)
        print(f"{server}, TLS {protocol}: of {COUNT}, {resumed} resumed there, {at_other} at the"
              f" {other.build} one")
        check(f"{server}: its sessions resume there, TLS {protocol}", same, COUNT, resumed)


def make_work(work, order):
    folder = work / order.replace(" ", "-")
    folder.mkdir(mode=0o711)
    tls.make_certificate(folder)
    tls.make_key_file(folder / "store.key")
    return folder


def beside(kind, prepared, work):
    for order in (("old", "new"), ("new", "old")):
        folder = make_work(work, f"{order[0]} first")
        servers = [kind(build, prepared, folder) for build in order]
        first, second = servers
        try:
            first.bring_up()
            sessions_fare(first, first)
            first.note_layout()
            second.bring_up()
            sessions_fare(second, second)
            second.note_layout()
            is_replaced = first.layout != second.layout
            print(f"layouts: {first.layout}, then {second.layout}")
            with Traffic(first, second):
                for server, other in ((first, second), (second, first)):
                    sessions_fare(server, other)
                    server.renew()
                    sessions_fare(server, other)
            check("they do not take turns", same, (second.store, second.layout), store_in(folder))
            for server in servers:
                check(f"{server}: it keeps its store", is_mapped, server)
            for server in servers:
                check(f"{server}: it lives", server.lives)
                says_what_it_must(server, order, is_replaced)
                server.bring_down()
            for server in servers:
                check(f"{server}: what nobody uses is mapped no more", same, False, is_mapped(server))
            check("one store is left", same, ["store"], [file.name for file in folder.glob("store*")
                                                         if file.name != "store.key"])
        finally:
            for server in servers:
                getattr(server, "kill", int)()


def store_in(folder):
    """The inode and the version of the store that is in place."""
    with open(folder / "store", "rb") as store:
        return os.fstat(store.fileno()).st_ino, int.from_bytes(store.read(12)[8:], sys.byteorder)


def is_mapped(server):
    """Whether any process has the server's store mapped. The maker's has the name that it had first."""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            lines = [line.split(maxsplit=5) for line in maps.read_text().splitlines()]
        except OSError:
            continue  # it has ended
        if any(str(server.store) == line[4] and str(server.work) in line[-1] for line in lines):
            return True
    return False


def says_what_it_must(server, order, is_replaced):
    lines = server.lines()
    check(f"{server}: one line at most", at_most, 1, len(lines))
    if is_replaced or BASE == "efe3c6b" and server.build == "new" and order[0] == "old":
        check(f"{server}: it says that another version is there", TOLD in "".join(lines))
    elif server.build == "new" and order[0] == "new":
        check(f"{server}: alone at first, it says nothing", same, [], lines)


def replaced(prepared, work):
    """The library's file is another build; reload, then upgrade."""
    need("nginx", "nginx", "nginx")
    for before, after in (("old", "new"), ("new", "old")):
        server = Nginx(before, prepared, make_work(work, f"{before} is replaced"))
        try:
            server.bring_up()
            with Traffic(server, server):
                sessions_fare(server, server)
                server.note_layout()
                layout = server.layout
                server.use_library(after)
                server.renew()
                sessions_fare(server, server)
                server.upgrade()
                server.build = after
                sessions_fare(server, server)
            check(f"{server}: it lives", server.lives)
            # The old master and the new one, and each has its workers.
            check(f"{server}: one line at most", at_most, 1, len(server.lines()))
            is_old_mapped = is_mapped(server)
            server.note_layout()
            if layout != server.layout:
                check(f"{server}: it says that another version was there",
                      TOLD in "".join(server.lines()))
                check(f"{server}: the replaced store has gone", same, False, is_old_mapped)
            server.bring_down()
        finally:
            server.kill()


def size(prepared, work):
    """The second asks for another size than the store has: it goes on alone, or with a store of its own layout,
    and says so."""
    for order in (("old", "new"), ("new", "old")):
        folder = make_work(work, f"{order[0]} has the store")
        first, second = (Threads(build, prepared, folder) for build in order)
        second.env["SESSCACHE_STORE"] = f"file:{folder}/store?size=16MiB"
        first.bring_up()
        first.note_layout()
        second.bring_up()
        second.note_layout()
        with Traffic(first, second):
            sessions_fare(first, second)
            sessions_fare(second, first)
        for server in (first, second):
            check(f"{server}: it lives", server.lives)
            server.bring_down()
        if first.layout == second.layout:
            check(f"{first}: it says nothing", same, [], first.lines())
        else:
            check(f"{first}: one line at most", at_most, 1, len(first.lines()))
        check(f"{second}: it says why in one line", same, 1,
              sum("size=16" in line or TOLD in line for line in second.lines()))
        check(f"{second}: one line at most", at_most, 1, len(second.lines()))


def nginx(prepared, work):
    need("nginx", "nginx", "nginx")
    beside(Nginx, prepared, work)


def threads(prepared, work):
    beside(Threads, prepared, work)


if __name__ == "__main__":
    verdicts.main("test-upgrade", {"threads": threads, "nginx": nginx, "replaced": replaced,
                                   "size": size},
                  prepare=prepare, again="tests/upgrade/run.py",
                  settings=(*built.SETTINGS, "BASE"))
