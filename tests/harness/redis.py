"""A real Redis in the background, and a connection that speaks its protocol."""

import contextlib
import socket
from dataclasses import dataclass

from . import network, processes
from .network import through
from .verdicts import wait_until


class RedisError(AssertionError):
    """Redis refuses; the text is its own."""


class Connection:
    """The little of RESP that is needed. Bytes come back as bytes, numbers as int."""

    def __init__(self, port, address="127.0.0.1", namespace=None):
        with network.inside(namespace):
            self._socket = socket.create_connection((address, port), timeout=10)
        self._file = self._socket.makefile("rwb")

    def close(self):
        self._file.close()
        self._socket.close()

    def __call__(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in words]
        self._file.write(b"".join(parts))
        self._file.flush()
        return self._answer()

    def _answer(self):
        line = self._file.readline()
        if not line:
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if rest == b"-1":
            return None
        if kind == b"$":
            return self._file.read(int(rest) + 2)[:-2]
        return [self._answer() for _ in range(int(rest))]


@dataclass(eq=False)
class Redis:
    """A redis-server with nothing in it, which keeps nothing when it ends."""

    process: processes.Process
    port: int
    address: str = "127.0.0.1"
    namespace: str | None = None

    @classmethod
    def start(cls, work, port, *options, address="127.0.0.1", namespace=None,
              program=("redis-server",), name="redis"):
        """Logs to NAME.log in the folder. program: Valkey, or a command that becomes it."""
        process = processes.start(
            *program, "--bind", address, "--port", port, "--protected-mode", "no", "--save", "",
            "--appendonly", "no", "--dir", work, *options, log=work / f"{name}.log", name=name,
            through=through(namespace))
        redis = cls(process, port, address, namespace)
        wait_until(10, redis.answers)
        return redis

    @property
    def url(self):
        return f"redis://{self.address}:{self.port}"

    @contextlib.contextmanager
    def connection(self):
        made = Connection(self.port, self.address, self.namespace)
        try:
            yield made
        finally:
            made.close()

    def __call__(self, *words, user=None):
        """The answer to one command, on a connection of its own. user: (name, password)."""
        with self.connection() as connection:
            if user:
                connection("AUTH", *user)
            return connection(*words)

    def answers(self):
        """Also when it lets nobody in without a password, or is still joining a cluster."""
        try:
            return self("PING") == b"PONG"
        except RedisError as error:
            return str(error).startswith(("NOAUTH", "NOPERM"))

    def info(self, name):
        """A value of INFO."""
        for line in self("INFO").decode().splitlines():
            if line.startswith(f"{name}:"):
                return line.split(":", 1)[1]
        raise AssertionError(f"INFO has no {name}")

    def role(self):
        """master, or slave."""
        return self("ROLE")[0].decode()
