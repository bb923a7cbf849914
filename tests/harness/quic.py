"""A resuming client over QUIC: the openssl program, since 3.2."""

import re
from dataclasses import dataclass
from pathlib import Path

from .run import result, run


def is_possible():
    return " -quic " in run("openssl", "s_client", "-help", status=None)


def log_is_clean(log):
    """nginx's. The client ends in the middle of its request, which nginx says."""
    bad = r"\[error\](?!.* stream cancellation )|\[(crit|alert|emerg)\]|on signal"
    found = re.findall(f"^.*(?:{bad}).*$", log.read_text(errors="replace"), re.M)
    assert not found, "\n".join(found[:5])
    return True


@dataclass(frozen=True)
class QuicClient:
    """As tls.Client, for HTTP/3 at a port of 127.0.0.1. Sessions are in tickets."""

    folder: Path  # for a file of its own
    name: str     # of the server

    def save(self, port, file):
        """A full connection, whose session is kept in the file."""
        assert not self._visit(port, None, file), "a connection that offered nothing was resumed"
        assert file.exists(), "there was no ticket"

    def offer(self, port, file, count):
        """How many of so many connections that offer the session resume."""
        return sum(self._visit(port, file, self._new) for _ in range(count))

    def once(self, port, count):
        """How many of so many connections resume, of which each offers the newest session, unless
        one before it has offered that."""
        newest, resumed = self.folder / "newest.quic", 0
        newest.unlink(missing_ok=True)
        for _ in range(count):
            resumed += self._visit(port, newest if newest.exists() else None, self._new)
            newest.unlink(missing_ok=True)
            if self._new.exists():
                self._new.rename(newest)
        return resumed

    @property
    def _new(self):
        return self.folder / "new.quic"

    def _visit(self, port, offered, new):
        """Whether it resumed. The last ticket of the server is in the new file, if there was one.
        Something has to be sent: the program ends when it has sent all, before a ticket comes."""
        new.unlink(missing_ok=True)
        words = ["-connect", f"127.0.0.1:{port}", "-servername", self.name, "-sess_out", new]
        words += ["-sess_in", offered] if offered else []
        done = result("openssl", "s_client", "-quic", "-alpn", "h3", *words, input="x", seconds=20)
        said = [line for line in done.stdout.splitlines() if line.startswith(("New,", "Reused,"))]
        assert said, f"no connection over QUIC: {done.stderr.strip()[-300:]}"
        return said[0].startswith("Reused,")
