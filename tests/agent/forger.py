"""Somebody who writes to the streams and should not; each function says how much it appended. The
fields of an entry are in cli/src/agent/stream_entry.rs."""

import os

from harness.record import DEADLINE, HEAD, LOCATOR, PUT, REMOVAL, UNIT

from .scene import STREAMS, stream

ORIGIN = b"forger's host id"


def records(connection):
    """All records in the streams, each with the number of its stream."""
    found = []
    for number in STREAMS:
        for _, fields in connection("XRANGE", stream(number), "-", "+"):
            rest = dict(zip(fields[::2], fields[1::2])).get(b"r", b"")
            while len(rest) >= HEAD.size and rest[2] in (PUT, REMOVAL):
                size = int.from_bytes(rest[:2], "little") * UNIT
                if size > len(rest):
                    break
                found.append((number, rest[:size]))
                rest = rest[size:]
    return found


def flip(index, number, record, _):
    """A bit of the payload."""
    forged = bytearray(record)
    forged[HEAD.size + index % (len(record) - HEAD.size - UNIT)] ^= 1 << index % 8
    return number, bytes(forged)


def redate(_, number, record, other):
    """It ends an hour later."""
    deadline = int.from_bytes(record[DEADLINE], "little") + 3600
    return number, replaced(record, DEADLINE, deadline.to_bytes(8, "little"))


def replay(_, number, record, other):
    """It stands for another session: its locator, in the stream of that."""
    return other[0], replaced(record, LOCATOR, other[1][LOCATOR])


def replaced(record, part, by):
    return record[:part.start] + by + record[part.stop:]


FORGERIES = (flip, redate, replay)


def forge(redis, change):
    """Appends every session of the streams once more, changed."""
    with redis.connection() as connection:
        puts = [each for each in records(connection) if each[1][2] == PUT]
        for index, (number, record) in enumerate(puts):
            number, forged = change(index, number, record, puts[(index + 1) % len(puts)])
            append(connection, number, forged)
    return len(puts)


def append(connection, number, record, *more):
    connection("XADD", stream(number), "*", "v", 1, "h", ORIGIN, *more, "r", record)


def junk(redis):
    """Appends what is no entry."""
    with redis.connection() as connection:
        _, record = records(connection)[0]
        entries = [
            ["hello", "world"],
            ["v", 1, "h", ORIGIN],
            ["v", 2, "h", ORIGIN, "r", record],
            ["v", 1, "r", record],
            ["v", 1, "h", ORIGIN, "r", b"\xff" * 100],
            ["v", 1, "h", ORIGIN, "r", record[:-1]],
            ["v", 1, "h", ORIGIN, "r", record[:2] + b"\x03" + record[3:]],
            ["v", 1, "h", ORIGIN, "r", bytes(1 << 20)],
            [b"\xc3\x28", b"\xa0\xa1"],
        ]
        for entry in entries:
            connection("XADD", stream(0), "*", *entry)
    return len(entries)


def numbers(redis, count):
    """Appends entries of hosts that use one number of streams, then another, and so on."""
    said = [3, 5, 0, 64, "x", "99999999999999999999"]
    with redis.connection() as connection:
        number, record = records(connection)[0]
        for index in range(count):
            append(connection, number, record, "k", said[index % len(said)])
    return count


def large(redis, count):
    """Appends entries as large as they may be, of records that nobody can open, to each stream; the
    number of records."""
    with redis.connection() as connection:
        _, record = records(connection)[0]
        fitting = (64 << 10) // len(record)
        for index in range(len(STREAMS) * count):
            made = [replaced(record, LOCATOR, os.urandom(16)) for _ in range(fitting)]
            append(connection, index % len(STREAMS), b"".join(made))
    return len(STREAMS) * count * fitting


def huge(redis, count):
    """Appends entries of 1 MiB, which is larger than any can be, to each stream."""
    with redis.connection() as connection:
        for index in range(len(STREAMS) * count):
            connection("XADD", stream(index % len(STREAMS)), "*", "v", 1, "h", ORIGIN,
                       0, bytes(1 << 20))
    return len(STREAMS) * count
