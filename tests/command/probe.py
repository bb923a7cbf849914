"""`sesscache probe` against openssl s_server and nginx, stock and with the library."""

import contextlib
import os
import re
import socket
import threading

from harness.network import free_port
from harness.packages import need
from harness.verdicts import Skipped, check, same

_ID, _TICKET, _TLS13 = "tls1.2-id", "tls1.2-ticket", "tls1.3"
_ALL = {_ID: (10, 10), _TICKET: (10, 10), _TLS13: (10, 10)}


def probe_stock(scene):
    """One process resumes what it is offered; without tickets, by ids alone."""
    port = scene.s_server()
    status, found = scene.asks_json("probe", f"127.0.0.1:{port}")
    check("with tickets all resume", same, (0, True, _ALL), (status, found["all_resumed"], rows(found)))
    names = found["addresses"][0]["certificate"]["names"]
    check("it names the certificate", same, ["first.test", "second.test"], names)
    certificate = found["addresses"][0]["certificate"]
    check("which nobody vouches for", same, False, certificate["trusted"])
    check("and whose hash is told", lambda: re.fullmatch("[0-9a-f]{64}", certificate["sha256"]))
    port = scene.s_server("-no_ticket")
    status, found = scene.asks_json("probe", f"127.0.0.1:{port}")
    check("without tickets ids resume", same, (0, _ALL | {_TICKET: (0, 0)}), (status, rows(found)))
    check("and it says why not tickets", same, "nothing given to offer", trouble(found, _TICKET))
    port = scene.s_server("-no_cache", "-no_ticket")
    status, found = scene.asks_json("probe", f"127.0.0.1:{port}")
    check("nothing to offer at all is 1", same, (1, False), (status, found["all_resumed"]))
    status, printed, said = scene.asks("probe", "--way", "tls1.3", "--count", "3", f"127.0.0.1:{port}")
    check("the table has the way alone", same, ["TLS 1.3"], re.findall("TLS [0-9.]+", printed))
    check("and a line on stderr", same,
          (1, "sesscache: not every session that was offered has resumed\n"), (status, said))


def probe_versions(scene):
    """A version that the server does not speak is no fault; a name is asked for."""
    for option, left in (("-tls1_2", {_ID, _TICKET}), ("-tls1_3", {_TLS13})):
        port = scene.s_server(option)
        status, found = scene.asks_json("probe", f"127.0.0.1:{port}")
        spoken = {way for way, (offered, _) in rows(found).items() if offered}
        check(f"{option}: the others are not spoken", same, (0, left), (status, spoken))
        others = {trouble(found, way) for way in _ALL if way not in left}
        check(f"{option}: which is told", same, {"not spoken"}, others)
    port = scene.s_server("-servername", "second.test", "-servername_fatal", "-cert2",
                          scene.files / "certificate.pem", "-key2", scene.files / "key.pem")
    check("another name is refused", same, 1, scene.asks("probe", f"127.0.0.1:{port}", "--name",
                                                         "third.test")[0])
    check("this one is not", same, 0, scene.asks("probe", f"127.0.0.1:{port}", "--name",
                                                 "second.test")[0])


def probe_nginx(scene):
    """Two workers share nothing of `builtin` on stock, and all with a store."""
    need("nginx", "nginx-light", "nginx")
    for env, resumed in ((None, range(50)), (scene.library(), [50])):
        port = scene.nginx(env=env)
        # 50 in a row meet both workers: see tests/servers/nginx.py. If these take turns, none resumes,
        # because the next one is offered what the other has given.
        status, found = scene.asks_json("probe", "--count", "50", f"127.0.0.1:{port}")
        what = "with the library" if env else "on stock"
        check(f"{what} ids resume at each worker or not", lambda: rows(found)[_ID][1] in resumed)
        check(f"{what} the status says so", same, 0 if env else 1, status)
        check(f"{what} TLS 1.3 as well", lambda: rows(found)[_TLS13][1] in resumed)
        scene.servers[port].kill()


def probe_addresses(scene):
    """A name with two addresses: each is asked, and each about the sessions of the other."""
    if os.geteuid() != 0:
        raise Skipped("root alone can give a name two addresses")
    hosts = scene.work / "hosts"
    hosts.write_text("127.0.0.1 two.test\n127.0.0.2 two.test\n")
    as_two = ("unshare", "--mount", "sh", "-c", f'mount --bind "{hosts}" /etc/hosts && exec "$@"', "-")
    for env, one in ((None, False), (scene.library(), True)):
        port = free_port()
        for address in "127.0.0.1", "127.0.0.2":
            scene.s_server(address=address, port=port, env=env)
        status, found = scene.asks_json("probe", f"two.test:{port}", through=as_two)
        places = [place["address"] for place in found["addresses"]]
        what = "with the library" if env else "on stock"
        check(f"{what} both are asked", same,
              {f"127.0.0.1:{port}", f"127.0.0.2:{port}"}, set(places))
        for place in found["addresses"]:
            check(f"{what} all resume there", same, _ALL, rows(found, place))
            others = [other["resumed"] for way in place["ways"] for other in way["elsewhere"]]
            check(f"{what} and elsewhere", same, [one] * 3, others)
        check(f"{what} the status says so", same, 0 if one else 1, status)
        _, printed, _ = scene.asks("probe", f"two.test:{port}", through=as_two)
        lines = printed.count("does not resume at")
        check(f"{what} the table names who does not", same, 0 if one else 6, lines)


def probe_failures(scene):
    """What cannot be asked is said in time, whatever the other side does."""
    status, found = scene.asks_json("probe", f"127.0.0.1:{free_port()}")
    check("a closed port", same, (1, {"failed: connection refused"}),
          (status, {trouble(found, way) for way in _ALL}))
    status, _, said = scene.asks("probe", f"127.0.0.1:{free_port()}")
    check("and that nothing was offered", same,
          (1, "sesscache: no session was offered; the table says why\n"), (status, said))
    for what, bytes_sent, why in (
            ("silence", b"", "failed: no answer in time"),
            ("no TLS", b"220 mail ESMTP\r\n" * 20, None),
            ("a slow drip", None, "failed: no answer in time")):
        with _listener(bytes_sent) as port:
            status, found = scene.asks_json("probe", "--timeout", "1s", "--way", "tls1.3",
                                            f"127.0.0.1:{port}")
            check(f"{what} is a failure", same, 1, status)
            said = trouble(found, _TLS13)
            check(f"{what} is named", lambda: said == why if why else said.startswith("failed: "))
    for words in (["a b"], ["127.0.0.1:x"], ["a", "--name", "b c"], ["a", "--way", "tls1.1"],
                  ["a", "--count", "0"], ["a", "--timeout", "2m"], []):
        status, printed, said = scene.asks("probe", *words)
        check(f"{words} is bad input", same, (2, "", 1), (status, printed, said.count("\n")))
    status, printed, said = scene.asks("probe", "nowhere.invalid")
    check("a name without an address", lambda: same((1, ""), (status, printed)) and
          said.startswith("sesscache: nowhere.invalid: no address: "))


@contextlib.contextmanager
def _listener(sends):
    """Its port. It sends these bytes to each, or with None a byte of a record now and then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop, kept = threading.Event(), []

        def serve():
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    kept.append(connection)
                    if sends is not None:
                        connection.sendall(sends)
                    # The beginning of a long record.
                    drip = iter(bytes((22, 3, 3, 64, 0)) + bytes(60))
                    while sends is None and not stop.wait(0.1):
                        connection.sendall(bytes([next(drip)]))

        server.settimeout(0.2)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join()
            for connection in kept:
                connection.close()


def rows(found, place=None):
    """{way: (offered, resumed)} of an address, the first by default."""
    place = place or found["addresses"][0]
    return {row["way"]: (row["offered"], row["resumed"]) for row in place["ways"]}


def trouble(found, way):
    return next(row["trouble"] for row in found["addresses"][0]["ways"] if row["way"] == way)
