"""Ports that nobody uses, who listens where, HTTP, and network namespaces.

The kernel's tables tell who listens, because a connection to find out would show in a server's log.
"""

import contextlib
import ctypes
import os
import random
import socket
import sys
from pathlib import Path

ANY_BELOW = range(20000, 30000)  # from 32768 on the kernel gives ports to clients
_given = set()
_ESTABLISHED, _LISTENS = "01", "0A"
_CLONE_NEWNET = 0x40000000


def free_port():
    """A port of 127.0.0.1 that nobody listens on; never the same one twice."""
    while True:
        port = random.choice(ANY_BELOW)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _tcp_table(pid):
    """(local address, local port, remote port, state, inode) of the sockets in the process's network
    namespace."""
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        address = socket.inet_ntoa(int(fields[1].split(":")[0], 16).to_bytes(4, sys.byteorder))
        local, remote = (int(place.split(":")[1], 16) for place in fields[1:3])
        yield address, local, remote, fields[3], fields[9]


def is_listening(port, pid="self", address=None):
    """In our network namespace, or in that of the process; at this address, if it is given."""
    return any(local == port and state == _LISTENS and address in (None, at)
               for at, local, _, state, _ in _tcp_table(pid))


def is_connected_to(port, pid):
    """Whether the process itself has a connection to this port of anybody."""
    inodes = {inode for _, _, remote, state, inode in _tcp_table(pid)
              if remote == port and state == _ESTABLISHED}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(entry).removeprefix("socket:[").removesuffix("]") in inodes:
                return True
    return False


def http(port, path, address="127.0.0.1", namespace=None, seconds=5, accept=None):
    """(status code, body) of a GET. accept: the media types that are wanted."""
    with inside(namespace):
        connection = socket.create_connection((address, port), timeout=seconds)
    with connection, connection.makefile("rwb") as file:
        wanted = f"Accept: {accept}\r\n" if accept else ""
        file.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n{wanted}\r\n".encode())
        file.flush()
        answer = file.read().decode(errors="replace")
    head, _, body = answer.partition("\r\n\r\n")
    words = head.split(" ", 2)
    assert len(words) > 1 and words[1].isdigit(), f"no HTTP: {answer!r}"
    return int(words[1]), body


@contextlib.contextmanager
def inside(namespace):
    """The block runs in a named network namespace; None is ours.

    A socket stays where it was made, so the block may end when that is done."""
    if namespace is None:
        yield
        return
    with open("/proc/self/ns/net") as ours, open(f"/run/netns/{namespace}") as theirs:
        _set_namespace(theirs)
        try:
            yield
        finally:
            _set_namespace(ours)


def through(namespace):
    """For `run` and `start`: the command that enters it and becomes the program."""
    return ("nsenter", f"--net=/run/netns/{namespace}") if namespace else ()


def _set_namespace(file):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter {file.name}")
