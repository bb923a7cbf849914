"""Certificates, key files, and the resuming client, which is client.c beside this file."""

import os
import re
import secrets
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from .packages import find
from .run import result, run
from .verdicts import Unusable

_HERE = Path(__file__).parent
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


def make_certificate(folder):
    """A self-signed one of first.test and second.test: certificate.pem, key.pem, and both.pem."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    run("openssl", "req", "-x509", *_NEW_KEY, "-subj", "/CN=first.test",
        "-addext", "subjectAltName=DNS:first.test,DNS:second.test",
        "-keyout", key, "-out", certificate)
    both = folder / "both.pem"
    both.touch(mode=0o600)
    both.write_text(key.read_text() + certificate.read_text())


def make_self_signed(folder, names="IP:127.0.0.1", file="self", *extensions):
    """One of such names, FILE.pem with its FILE_key.pem, which OpenSSL marks as an authority's."""
    key, certificate = folder / f"{file}_key.pem", folder / f"{file}.pem"
    run("openssl", "req", "-x509", *_NEW_KEY, "-subj", f"/CN={file}",
        "-addext", f"subjectAltName={names}", *extensions, "-keyout", key, "-out", certificate)
    return certificate, key


def make_issued(folder, issuer, names, file):
    """One of such names, FILE.pem with its FILE_key.pem, from a pair of certificate and key."""
    base = folder / file
    run("openssl", "req", *_NEW_KEY, "-subj", f"/CN={file}", "-keyout", f"{base}_key.pem",
        "-out", f"{base}.csr")
    base.with_suffix(".ext").write_text(f"subjectAltName={names}\n")
    run("openssl", "x509", "-req", "-in", f"{base}.csr", "-CA", issuer[0], "-CAkey", issuer[1],
        "-CAcreateserial", "-days", "2", "-extfile", f"{base}.ext", "-out", f"{base}.pem")


def make_authority(folder, address):
    """An authority, ca.pem, and a certificate of an IP address from it, issued.pem with its
    issued_key.pem."""
    key, certificate = folder / "ca_key.pem", folder / "ca.pem"
    run("openssl", "req", "-x509", *_NEW_KEY, "-subj", "/CN=authority",
        "-keyout", key, "-out", certificate)
    make_issued(folder, (certificate, key), f"IP:{address}", "issued")


def make_key_file(path):
    """A file with a new key, as SESSCACHE_KEY_FILE wants it."""
    write_secret(path, secrets.token_hex(32) + "\n")


def write_secret(path, text):
    """A file that its owner alone may read. It replaces one of that name at once."""
    new = Path(f"{path}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.rename(path)


def build_client(folder):
    """Compiles client.c; the Client. Unusable, with what is missing, if that is impossible."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not find(compiler[0]):
        raise Unusable("no C compiler (Debian: apt-get install gcc libc6-dev)")
    program = folder / "client"
    done = result(*compiler, "-O1", "-Wall", "-Wextra", "-Werror", _HERE / "client.c",
                  _HERE / "connection.c", "-o", program, "-lssl", "-lcrypto")
    if done.returncode != 0:
        raise Unusable(f"{done.stderr}the client did not build"
                       " (headers: apt-get install libssl-dev)")
    return Client(program)


@dataclass(frozen=True)
class Client:
    """How to connect: with `client.of(protocol="1.2", name="first.test")` in another way.

    A place is a port of 127.0.0.1, or "ADDRESS:PORT". A connection that fails, a full one that was
    resumed and a session of another kind raise AssertionError."""

    program: Path
    protocol: str = "1.3"
    tickets: bool = False  # else sessions are looked up by their id
    name: str = ""         # of the server, for SNI; none if empty
    application: str = "http"
    certificate: Path = None  # a file with key, certificate and chain to show; none if None
    shared_key: str = ""      # a pre-shared key, "IDENTITY:HEX"; none if empty
    through: tuple = ()       # a command that runs it, elsewhere

    def of(self, **changes):
        return replace(self, **changes)

    def save(self, place, file, count=1):
        """Full connections, whose sessions are kept in the file."""
        self._run(place, "save", file, count)
        return True

    def offer(self, place, file, count):
        """How many of so many connections resume, which go round the sessions of the file."""
        return _resumed(self._run(place, "offer", file, count))

    def once(self, place, count):
        """How many of so many connections resume, of which each offers the newest session, unless
        one before it has offered that: as RFC 8446, C.4, wants it."""
        return _resumed(self._run(place, "once", count))

    def tries(self, place, file, count):
        """As offer, but the server may end the connections: of each ("resumed" or "full", cipher,
        the first line of the answer). "-" is no cipher, no answer."""
        lines = self._run(place, "try", file, count).splitlines()
        return [tuple(line.split(" ", 2)) for line in lines]

    def reach(self, place, other, count):
        """How soon a session of the place resumes at the other: "median MS most MS"."""
        return self._run(place, "reach", _place(other), count)

    def spoil(self, place, file):
        """Resumes each session of the file, and gets a fatal alert, which removes it."""
        self._run(place, "spoil", file)
        return True

    def load_command(self, place, other, seconds, file):
        """For `start`: connects to both in turn. The log gets a line of each, for load_lines."""
        return self._command(place, "load", _place(other), seconds, file)

    def _command(self, place, *words):
        options = ["-p", self.protocol, "-a", self.application]
        options += ["-t"] if self.tickets else []
        options += ["-s", self.name] if self.name else []
        options += ["-c", str(self.certificate)] if self.certificate else []
        options += ["-k", self.shared_key] if self.shared_key else []
        return [*self.through, str(self.program), *options, _place(place), *map(str, words)]

    def _run(self, place, *words):
        done = result(*self._command(place, *words), seconds=60)
        assert done.returncode == 0, f"the client ended with {done.returncode}: {done.stderr}"
        return done.stdout.strip()


def _resumed(line):
    return int(re.fullmatch(r"resumed (\d+) of \d+", line)[1])


def load_lines(text):
    """Of what `load` printed, for each place: {"connections": N, "failed": N, ..., "most": MS}."""
    lines = [line.split() for line in text.splitlines() if line.startswith("connections ")]
    return [dict(zip(words[::2], map(float, words[1::2]))) for words in lines]


def _place(place):
    return f"127.0.0.1:{place}" if isinstance(place, int) else place
