"""The system calls of a worker that resumes a session: with the library, where it comes from the
store that an agent fills, against stock, where it comes from the worker's own memory. Nothing
beyond the client's connection may touch the network; new may only be calls for memory and locks."""

import re
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness import processes
from harness.network import through
from harness.verdicts import at_least, check, fail, happens, same, wait_until

from .host import KINDS
from .network import CLIENTS

# For memory and locks; a new session wakes the agent by a futex.
HARMLESS = {"brk", "futex", "madvise", "mmap", "mprotect", "munmap"}
CONNECTING = {"socket", "socketpair", "connect", "bind"}
CALL = re.compile(r"^\d+ +([a-z0-9_]+)\(", re.MULTILINE)
SOCKET = re.compile(r"<(?:TCP|UDP|UNIX|NETLINK|RAW|socket|TCPv6|UDPv6)[^ ,)\n]*")
CLIENT = rf"->{re.escape(CLIENTS)}:\d+"
# A server's socket on the front network: it listens, or a client is connected to it.
SERVER_SOCKET = re.compile(rf"<TCP:\[10\.80\.0\.[123]:800[12]({CLIENT})?\]>+")


def system_calls(scene):
    scene.start_redis()
    scene.add_hosts("a", "b")
    scene.add_hosts("c", stock=True)
    print("system calls of the worker during a resumed connection:")
    print_row("", "stock", "ours", "ours by name")
    for kind in KINDS:
        compare(scene, kind)
    scene.check_health()


def print_row(kind, stock, ours, names):
    print(f"{kind!s:14} {stock:>6} {ours:>6}   {names}")


@dataclass(frozen=True)
class Trace:
    """strace's lines."""

    text: str

    @property
    def names(self):
        return CALL.findall(self.text)

    def summary(self):
        """close,read 3: how often each is called."""
        counts = sorted(Counter(self.names).items())
        return ",".join(f"{name} {count}" if count > 1 else name for name, count in counts)

    def has_only_clients(self):
        """Every socket that a line names is the server's on the front network."""
        assert re.search(CLIENT, self.text), "strace does not tell whose a socket is"
        return same([], sorted({found for found in SOCKET.findall(self.text)
                                if not SERVER_SOCKET.fullmatch(found)}))

    def makes_no_connection(self):
        return same(set(), CONNECTING & set(self.names))

    def beyond(self, other):
        return sorted(set(self.names) - set(other.names) - HARMLESS)


def trace(scene, host, sessions):
    """One connection that offers the sessions, as the worker sees it."""
    kind, way = sessions.kind, "stock" if host.stock else "fleet"
    file = scene.work / f"{way}-{kind.protocol}-{kind.carried}.trace"
    # strace runs on the host, where the kernel tells whose each socket is.
    strace = processes.start(
        "strace", "-f", "-yy", "-s", 16, "-o", file, "-p", host.worker(), log=Path(f"{file}.log"),
        through=through(host.name))
    wait_until(10, lambda: "attached" in strace.log.read_text())
    count = host.offer(sessions, 1)
    wait_until(10, lambda: "close(" in file.read_text())
    strace.end(signal.SIGTERM, 10)
    check(f"{host.name}, {kind}, {way}: the traced connection resumed", same, 1, count)
    return Trace(file.read_text())


def ready_for_store(kind, a, b):
    """Sessions of a, which b's store has and the worker's memory has not; but it has had a
    connection."""
    sessions = a.save(kind)
    if not happens(10, b.resumes, sessions, 1):
        fail(f"{kind}: a's session does not come to b")
    b.reload_server()
    b.save(kind)
    return sessions


def compare(scene, kind):
    a, b, c = (scene.hosts[name] for name in "abc")
    stock = trace(scene, c, c.save(kind))
    sessions = ready_for_store(kind, a, b)
    before = b.counted("hits")
    ours = trace(scene, b, sessions)
    if not kind.in_tickets:
        check(f"{kind}: the session came from the store", at_least, before + 1,
              b.counted("hits"))
    check(f"{kind}: no socket but the client's", ours.has_only_clients)
    check(f"{kind}: no new socket", ours.makes_no_connection)
    check(f"{kind}: no system call that stock does not make", same, [], ours.beyond(stock))
    print_row(kind, len(stock.names), len(ours.names), ours.summary())
