#!/usr/bin/env python3
"""What agent.sh cannot do in bash: a client that spoils its session, somebody who forges entries in
the streams, a reader of metrics, a systemd that is told things, free ports."""

import json
import os
import re
import socket
import ssl
import sys
import time

FORGER = b"forger's host id"


# --- a client ------------------------------------------------------------------------------------

def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_TICKET
    return made


def visit(made, port, session=None, last=b""):
    """One connection: its session, and whether that was resumed. Instead of saying goodbye (without
    which OpenSSL 3 calls a session faulty) it may have other last words."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = made.wrap_bio(incoming, outgoing, session=session)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        for step in (tls.do_handshake, tls.unwrap):
            while True:
                try:
                    step()
                    break
                except ssl.SSLWantReadError:
                    raw.sendall(outgoing.read())
                    incoming.write(raw.recv(65536))
            raw.sendall(outgoing.read())
            if last:
                raw.sendall(last)
                raw.recv(65536)
                break
        return tls.session, tls.session_reused


def resumes(made, port, session):
    return visit(made, port, session)[1]


def removal(here, there):
    """A session of one host resumes at the other until a fatal alert removes it at the first."""
    made = context()
    session, _ = visit(made, here)
    until(lambda: resumes(made, there, session), "the session does not resume at the other host")
    _, reused = visit(made, here, session, b"\x17\x03\x03\x00\x40" + bytes(64))
    assert reused, "the session does not resume where it was made"
    until(lambda: not resumes(made, there, session), "the removal does not arrive")
    assert not resumes(made, here, session), "the session still resumes where it was removed"


def until(condition, otherwise):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)


# --- streams -------------------------------------------------------------------------------------

class Redis:
    def __init__(self, port):
        self.file = socket.create_connection(("127.0.0.1", port), timeout=10).makefile("rwb")

    def __call__(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.file.write(b"*%d\r\n" % len(words))
        for word in words:
            self.file.write(b"$%d\r\n%s\r\n" % (len(word), word))
        self.file.flush()
        return self.answer()

    def answer(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2] if rest != b"-1" else None
        assert kind != b"-", rest
        return rest


def stream(name, number):
    return f"sesscache:{{{name}:{number}}}:log"


def records(redis, name):
    """All records in the four streams, with the number of theirs."""
    found = []
    for number in range(4):
        for _, fields in redis("XRANGE", stream(name, number), "-", "+"):
            rest = dict(zip(fields[::2], fields[1::2])).get(b"r", b"")
            while len(rest) >= 36 and rest[2] in (1, 2):
                size = int.from_bytes(rest[:2], "little") * 8
                if size > len(rest):
                    break
                found.append((number, rest[:size]))
                rest = rest[size:]
    return found


def forge(port, name, how):
    """Appends every session of the streams once more, changed: flip a bit of it, redate it, or
    replay it as another."""
    redis = Redis(port)
    puts = [record for record in records(redis, name) if record[1][2] == 1]
    for index, (number, record) in enumerate(puts):
        forged = bytearray(record)
        if how == "flip":
            forged[36 + index % (len(record) - 44)] ^= 1 << index % 8
        elif how == "redate":
            forged[4:12] = (int.from_bytes(record[4:12], "little") + 3600).to_bytes(8, "little")
        else:
            number, other = puts[(index + 1) % len(puts)]
            forged[20:36] = other[20:36]
        redis("XADD", stream(name, number), "*", "v", 1, "h", FORGER, "r", bytes(forged))
    print(len(puts))


def junk(port, name):
    """Appends what is no entry; prints how many."""
    redis = Redis(port)
    _, record = records(redis, name)[0]
    key = stream(name, 0)
    entries = [
        ["hello", "world"],
        ["v", 1, "h", FORGER],
        ["v", 2, "h", FORGER, "r", record],
        ["v", 1, "r", record],
        ["v", 1, "h", FORGER, "r", b"\xff" * 100],
        ["v", 1, "h", FORGER, "r", record[:-1]],
        ["v", 1, "h", FORGER, "r", record[:2] + b"\x03" + record[3:]],
        ["v", 1, "h", FORGER, "r", bytes(1 << 20)],
        [b"\xc3\x28", b"\xa0\xa1"],
    ]
    for entry in entries:
        redis("XADD", key, "*", *entry)
    print(len(entries))


def numbers(port, name, count):
    """Appends entries of hosts that use one number of streams, then another, and so on."""
    redis = Redis(port)
    number, record = records(redis, name)[0]
    said = [3, 5, 0, 64, "x", "99999999999999999999"]
    for index in range(count):
        streams = said[index % len(said)]
        redis("XADD", stream(name, number), "*", "v", 1, "h", FORGER, "k", streams, "r", record)


def large(port, name, count):
    """Appends entries as large as they may be, of records that nobody can open, to each stream;
    prints how many records."""
    redis = Redis(port)
    _, record = records(redis, name)[0]
    fitting = (64 << 10) // len(record)
    for index in range(4 * count):
        made = [record[:20] + os.urandom(16) + record[36:] for _ in range(fitting)]
        key = stream(name, index % 4)
        redis("XADD", key, "*", "v", 1, "h", FORGER, "r", b"".join(made))
    print(4 * count * fitting)


def huge(port, name, count, megabytes):
    """Appends entries that are larger than any can be, to each stream; prints how many."""
    redis = Redis(port)
    for index in range(4 * count):
        fields = [word for field in range(megabytes) for word in (field, bytes(1 << 20))]
        redis("XADD", stream(name, index % 4), "*", "v", 1, "h", FORGER, *fields)
    print(4 * count)


# --- metrics -------------------------------------------------------------------------------------

LINE = re.compile(r'^([a-z_]+)(\{[a-z]+="[^"]*"\})? (-?[0-9.eE+-]+|\+Inf|NaN)$')
SUFFIXES = ("_total", "_bucket", "_sum", "_count", "_info")


def metrics():
    """Checks OpenMetrics text; prints the names of the families."""
    kinds, helps = {}, set()
    lines = sys.stdin.read().splitlines()
    assert lines[-1] == "# EOF", "no # EOF"
    for line in lines[:-1]:
        words = line.split(" ")
        if words[:2] == ["#", "HELP"]:
            helps.add(words[2])
        elif words[:2] == ["#", "TYPE"]:
            assert words[2] not in kinds, f"twice: {words[2]}"
            kinds[words[2]] = words[3]
        elif words[:2] == ["#", "UNIT"]:
            assert words[2].endswith("_" + words[3]), line
        else:
            found = LINE.match(line)
            assert found, f"not a sample: {line}"
            name = found[1]
            family = next((name[:-len(s)] for s in SUFFIXES if name.endswith(s)), name)
            assert family in kinds and family in helps, f"without HELP or TYPE: {line}"
            assert (kinds[family] == "counter") == name.endswith("_total"), line
    print("\n".join(sorted(kinds)))


def dashboard(path):
    """Prints the names of the metrics in a dashboard's queries."""
    with open(path, encoding="utf-8") as file:
        text = json.load(file)
    queries = [target["expr"] for panel in text["panels"] for target in panel.get("targets", [])]
    assert len(queries) >= 8, "few queries"
    names = {name for query in queries for name in re.findall(r"sesscache_[a-z_]+", query)}
    print("\n".join(sorted({re.sub("_(total|bucket|sum|count)$", "", name) for name in names})))


# --- the rest ------------------------------------------------------------------------------------

def notify(path):
    """Stands for systemd: prints what it is told until STOPPING=1."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(20)
        text = ""
        while "STOPPING=1" not in text:
            text = listener.recv(4096).decode()
            print(text, flush=True)


def ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    print(*(made.getsockname()[1] for made in sockets))


COMMANDS = {
    "removal": lambda here, there: removal(int(here), int(there)),
    "forge": lambda port, name, how: forge(int(port), name, how),
    "numbers": lambda port, name, count: numbers(int(port), name, int(count)),
    "large": lambda port, name, count: large(int(port), name, int(count)),
    "huge": lambda port, name, *rest: huge(int(port), name, *map(int, rest)),
    "junk": lambda port, name: junk(int(port), name),
    "metrics": metrics,
    "dashboard": dashboard,
    "notify": notify,
    "ports": lambda count: ports(int(count)),
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
