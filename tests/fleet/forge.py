"""Does to the streams in Redis what somebody might who can write there.

forge.py ADDRESS PORT SINCE LEAST WHAT MARKS

Waits until the streams have LEAST records that store a session, in entries since a time in
milliseconds, and appends for each of them what WHAT makes of it, as if another host had written
it. At the end each stream gets a record of our own, whose locator is written to MARKS: who has
these has read all before. The layout of a record is in docs/STORE.md.
"""

import os
import random
import socket
import struct
import sys
import time

# Units of 8 bytes, kind, flags and padding, deadline, written, locator.
HEAD = struct.Struct("<HBBQQ16s")
PUT, REMOVAL = 1, 2
LIFETIME = 600


class Redis:
    """The little of RESP that is needed."""

    def __init__(self, address, port):
        self.socket = socket.create_connection((address, port), timeout=10)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in words]
        self.socket.sendall(b"".join(parts))
        return self.answer()

    def answer(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"+":
            return rest
        if kind == b":" or rest == b"-1":
            return int(rest)
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2]
        return [self.answer() for _ in range(int(rest))]


def pack(kind, deadline, locator, payload):
    size = (HEAD.size + len(payload) + 7) // 8 * 8
    padding = size - HEAD.size - len(payload)
    written = int(time.time() * 1000)
    head = HEAD.pack(size // 8, kind, padding, deadline, written, locator)
    return head + payload + bytes(padding)


def unpack(data):
    """The records that lie one behind the other: (deadline, locator, payload) of those that put."""
    while data:
        units, kind, flags, deadline, _, locator = HEAD.unpack_from(data)
        if kind == PUT:
            yield deadline, locator, data[HEAD.size : units * 8 - (flags & 7)]
        data = data[units * 8 :]


def flip(data, bit):
    data = bytearray(data)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def a_bit(data):
    return flip(data, random.randrange(len(data) * 8))


def cut(data):
    return data[: -random.randrange(1, len(data))]


def noise(*_):
    return random.randbytes(random.randrange(1, 2000))


# What is made of a record, by its deadline (d), locator (at), payload (p) and the payload of
# another session (o).
FORGERIES = {
    "flipped": lambda d, at, p, o: pack(PUT, d, at, a_bit(p)),
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


def streams_with(redis, since, least):
    """The streams, and what they put, once there is enough."""
    for _ in range(200):
        streams = sorted(redis("KEYS", "sesscache:*"))
        found = {}
        for stream in streams:
            for _, fields in redis("XRANGE", stream, since, "+"):
                records = dict(zip(fields[::2], fields[1::2]))[b"r"]
                for deadline, locator, payload in unpack(records):
                    found[locator] = (stream, deadline, payload)
        if len(found) >= least:
            return streams, found
        time.sleep(0.05)
    sys.exit(f"forge.py: {len(found)} records in {len(streams)} streams, not {least}")


def forge(redis, found, make):
    locators = list(found)
    for number, locator in enumerate(locators):
        stream, deadline, payload = found[locator]
        other = found[locators[number - 1]][2]
        redis("XADD", stream, "*", *entry(make(deadline, locator, payload, other)))


def main(address, port, since, least, what, marks):
    redis = Redis(address, int(port))
    streams, found = streams_with(redis, since, int(least))
    if what == "junk":
        for stream in streams:
            for fields in fields_of_junk():
                redis("XADD", stream, "*", *fields)
    else:
        forge(redis, found, FORGERIES[what])
    with open(marks, "wb") as file:
        for stream in streams:
            locator = os.urandom(16)
            mark = pack(PUT, int(time.time()) + LIFETIME, locator, b"mark")
            redis("XADD", stream, "*", *entry(mark))
            file.write(locator)


ORIGIN = os.urandom(16)
if __name__ == "__main__":
    main(*sys.argv[1:])
