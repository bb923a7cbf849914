"""Appends forged records to the streams in Redis, as anybody could who can write there. The layout
of a record is in docs/STORE.md."""

import os
import random
import time

from harness.record import HEAD, PUT, REMOVAL, UNIT
from harness.verdicts import wait_until

# The stream in which hosts tell about themselves. All others have records.
ABOUT = b"sesscache:{hosts}:about"
LIFETIME = 600
ORIGIN = os.urandom(16)


def pack(kind, deadline, locator, payload):
    size = (HEAD.size + len(payload) + UNIT - 1) // UNIT * UNIT
    padding = size - HEAD.size - len(payload)
    written = int(time.time() * 1000)
    head = HEAD.pack(size // UNIT, kind, padding, deadline, written, locator)
    return head + payload + bytes(padding)


def unpack(data):
    """The records that lie one behind the other: (deadline, locator, payload) of those that put."""
    while data:
        units, kind, flags, deadline, _, locator = HEAD.unpack_from(data)
        if kind == PUT:
            yield deadline, locator, data[HEAD.size:units * UNIT - (flags & 7)]
        data = data[units * UNIT:]


def flip(data, bit):
    data = bytearray(data)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def flip_any(data):
    return flip(data, random.randrange(len(data) * 8))


def cut(data):
    return data[:-random.randrange(1, len(data))]


def noise(*_):
    return random.randbytes(random.randrange(1, 2000))


# A forged record, from the true one's deadline (d), locator (at) and payload (p), and the payload
# of another session (o).
FORGERIES = {
    "flipped": lambda d, at, p, o: pack(PUT, d, at, flip_any(p)),
    "extended": lambda d, at, p, o: pack(PUT, d + 86400, at, p),
    "moved": lambda d, at, p, o: pack(PUT, d, at, o),
    "shortened": lambda d, at, p, o: pack(PUT, d, at, p[:-8]),
    "emptied": lambda d, at, p, o: pack(PUT, d, at, b""),
    "removed": lambda d, at, p, o: pack(REMOVAL, 2**64 - 1, at, b""),
    "repeated": lambda d, at, p, o: pack(PUT, d, at, p),
    "garbled": lambda d, at, p, o: flip(pack(PUT, d, at, p), random.randrange(HEAD.size * 8)),
    "cut": lambda d, at, p, o: cut(pack(PUT, d, at, p)),
    "noise": noise,
}


def entry(records):
    """The fields of an entry, from a host that nobody knows."""
    return ["v", "1", "h", ORIGIN, "k", "1", "r", records]


def fields_of_junk():
    yield ["hello", "world"]
    yield ["v", "1"]
    yield ["v", "1", "h", "", "k", "", "r", ""]
    yield ["v", "2", "h", ORIGIN, "k", "1", "r", "later"]
    yield ["v", "1", "h", ORIGIN, "k", "0", "r", "x"]
    yield ["v", "1", "h", ORIGIN, "k", "99999999999999999999", "r", "x"]
    yield ["v", "1", "h", ORIGIN, "k", "-1", "r", b"\xff" * 36]
    yield ["v", "1", "h", b"\0" * 4096, "k", "1", "r", b"\0" * 4096]
    yield ["r", "1", "r", "2", "r", "3"]
    yield ["v", "1", "h", ORIGIN, "k", "1", "r", random.randbytes(1 << 20)]
    # Heads of each kind, of every length that the rest may not have.
    for kind in range(7):
        for units in (0, 1, 4, 5, 6, 8191, 8192, 65535):
            yield entry(HEAD.pack(units, kind, 7, 2**64 - 1, 0, os.urandom(16)))


class Forger:
    """Works on the streams of this moment, over one connection to Redis."""

    def __init__(self, connection):
        self.redis = connection
        self.streams = self._streams()

    def forge(self, what, since, least):
        """Waits until the streams have so many records that store a session, in entries since a
        time in milliseconds, and appends for each of them what is made of it, as if another host
        had written it."""
        wait_until(10, self._has, since, least)
        found = self._puts(since)
        if what == "junk":
            self._append_junk()
            return
        locators = list(found)
        for number, locator in enumerate(locators):
            stream, deadline, payload = found[locator]
            _, _, other = found[locators[number - 1]]
            self._append(stream, entry(FORGERIES[what](deadline, locator, payload, other)))

    def mark(self, file):
        """Each stream gets a record of our own, whose locator is written to the file: a store that
        has all of these has read all before. How many."""
        with open(file, "wb") as marks:
            for stream in self.streams:
                locator = os.urandom(16)
                self._append(stream, entry(pack(PUT, int(time.time()) + LIFETIME, locator,
                                                b"mark")))
                marks.write(locator)
        return len(self.streams)

    def _streams(self):
        return sorted(set(self.redis("KEYS", "sesscache:*")) - {ABOUT})

    def _has(self, since, least):
        self.streams = self._streams()
        found = len(self._puts(since))
        assert found >= least, f"{found} records in {len(self.streams)} streams, not {least}"
        return True

    def _puts(self, since):
        """{locator: (stream, deadline, payload)}"""
        found = {}
        for stream in self.streams:
            for _, fields in self.redis("XRANGE", stream, since, "+"):
                records = dict(zip(fields[::2], fields[1::2]))[b"r"]
                for deadline, locator, payload in unpack(records):
                    found[locator] = (stream, deadline, payload)
        return found

    def _append_junk(self):
        for stream in [*self.streams, ABOUT]:
            for fields in fields_of_junk():
                self._append(stream, fields)

    def _append(self, stream, fields):
        self.redis("XADD", stream, "*", *fields)
