"""`sesscache doctor` on real processes: each finding, and its grade."""

import os

from harness import built, processes, tls
from harness.network import free_port, is_listening
from harness.packages import need
from harness.verdicts import Skipped, check, same, wait_until


def doctor_healthy(scene):
    """A server with library, store and key file is well; its connections are counted."""
    port = scene.s_server(env=scene.library() | {"SESSCACHE_NAMESPACE": "web"})
    scene.asks("probe", "--way", "tls1.2-id", "--count", "3", f"127.0.0.1:{port}")
    status, found = scene.asks_json("doctor", scene.pid(port))
    check("it is well", same, (0, True), (status, found["is_well"]))
    codes = {"libssl", "library", "store", "key-file", "namespace", "resumed"}
    check("with these findings", same, codes, set(grades(found)))
    check("and none is bad", same, {"ok"}, set(grades(found).values()))
    check("the namespace is told", same, "the namespace is web", text(found, "namespace"))
    check("those that resumed in its own cache count, too", wait_until, 5, lambda: same(
        "of 3 connections that offered a session, 3 resumed",
        text(scene.asks_json("doctor", scene.pid(port))[1], "resumed")))
    status, printed, said = scene.asks("doctor", scene.pid(port))
    check("for people as well", lambda: same((0, ""), (status, said)) and
          "is loaded" in printed and "mend:" not in printed)
    status, found = scene.asks_json("doctor")
    check("without a name it is found", lambda: scene.pid(port) in {
        str(server["pid"]) for server in found["servers"]})


def doctor_without(scene):
    """What is missing before any session: the library, the store, the key, libssl."""
    port = scene.s_server()
    finds(scene, port, "library-missing", "bad", "sesscache enable openssl")
    port = scene.s_server(env={"LD_PRELOAD": "/nowhere/libsesscache.so.0"})
    finds(scene, port, "library-refused", "bad", "name an existing")
    port = scene.s_server(env={"LD_PRELOAD": str(scene.prepared.library)})
    finds(scene, port, "no-store", "bad", "sesscache enable openssl")
    port = scene.s_server(env=scene.library() | {"SESSCACHE_STORE": "shm:"})
    finds(scene, port, "store-memory", "ok", None)
    sleeper = processes.start("sleep", "600", log=scene.work / "sleep.log")
    status, found = scene.asks_json("doctor", str(sleeper.pid))
    check("without libssl", same, (1, {"no-libssl": "bad"}), (status, grades(found)))
    sleeper.kill()
    master = processes.start("sleep", "600", log=scene.work / "sleep.log", env=scene.library())
    status, found = scene.asks_json("doctor", str(master.pid))
    check("with the library and not yet libssl", same, (0, {"no-libssl-yet": "look"}),
          (status, grades(found)))
    master.kill()


def doctor_settings(scene):
    """Settings that do nothing or cannot work."""
    right = scene.library()
    for changed, code, mend in (
            ({"SESSCACHE_STORE": "shm"}, "store-unusable", "correct it"),
            ({"SESSCACHE_STORE": f"file:{scene.work}/none/s"}, "store-unusable",
             f"make {scene.work}/none"),
            ({"SESSCACHE_KEY_FILE": ""}, "no-key-file", "sesscache keygen"),
            ({"SESSCACHE_KEY_FILE": "/nowhere/key"}, "key-file", "mend the file")):
        port = scene.s_server(env=right | changed)
        finds(scene, port, code, "bad", mend)
    port = scene.s_server(env=right | {"SESSCACHE_NAMSPACE": "x"})
    finds(scene, port, "variable", "look", "correct its name")
    open_key = scene.work / "open.key"
    open_key.write_text((scene.files / "store.key").read_text())
    open_key.chmod(0o644)
    port = scene.s_server(env=right | {"SESSCACHE_KEY_FILE": str(open_key)})
    finds(scene, port, "key-file", "bad", "mend the file")


def doctor_elsewhere(scene):
    """A key file that another user, or another root, sees otherwise is not judged from here."""
    if os.geteuid() != 0:
        raise Skipped("root alone can start servers of other users")
    # systemd gives many services mounts of their own, in which they see the same file.
    port = scene.s_server(env=scene.library(), through=("unshare", "--mount"))
    finds(scene, port, "key-file", "ok", None)
    other = scene.work / "other.key"
    tls.make_key_file(other)
    hidden = f'mount --bind {other} {scene.files / "store.key"} && exec "$@"'
    port = scene.s_server(env=scene.library() | {"SESSCACHE_STORE": "shm:"},
                          through=("unshare", "--mount", "sh", "-c", hidden, "-"))
    finds(scene, port, "key-file-unseen", "look", "inside")
    own = scene.work / "own.key"
    own.write_text((scene.files / "store.key").read_text())
    own.chmod(0o600)
    os.chown(own, 33, 33)
    (scene.files / "key.pem").chmod(0o644)
    port = scene.s_server(env=scene.library() | {"SESSCACHE_STORE": "shm:",
                                                 "SESSCACHE_KEY_FILE": str(own)},
                          through=("setpriv", "--reuid=33", "--regid=33", "--clear-groups"))
    finds(scene, port, "key-file-unseen", "look", "sudo -u '#33' sesscache doctor")


def doctor_replaced(scene):
    """The store or the library was removed under a running server."""
    library = built.copy_library(scene.work)
    port = scene.s_server(env=scene.library() | {"LD_PRELOAD": str(library)})
    library.unlink()
    finds(scene, port, "library-replaced", "look", "restart openssl")
    (scene.work / "store").unlink()
    finds(scene, port, "store-gone", "bad", "restart openssl")


def doctor_counters(scene):
    """What the store has counted: other keys, and a server that asks for no cache."""
    need("nginx", "nginx-light", "nginx")
    port = scene.nginx("none", env=scene.library("off"))
    scene.asks("probe", "--way", "tls1.2-id", "--count", "1", f"127.0.0.1:{port}")
    finds(scene, port, "cache-off", "bad", "ssl_session_cache")
    plain = scene.work / "plain.key"
    tls.make_key_file(plain)
    port = scene.s_server("-no_ticket", env=scene.library())
    other = scene.s_server("-no_ticket", env=scene.library() | {"SESSCACHE_KEY_FILE": str(plain)})
    finds(scene, other, "plain-key", "look", "sesscache keygen --rotate")
    client = tls.build_client(scene.work).of(protocol="1.2")
    client.save(port, scene.work / "sessions")
    check("nothing resumes under another key", same, 0, client.offer(other, scene.work / "sessions", 1))
    finds(scene, other, "undecryptable", "look", "the same key file")


def doctor_nginx(scene):
    """A worker without the library; a name; nginx, which overwrites its environment."""
    need("nginx", "nginx-light", "nginx")
    master = scene.servers[scene.nginx(env=scene.library())]
    wait_until(10, lambda: len(processes.family(master.pid)) == 3)
    status, found = scene.asks_json("doctor", str(master.pid))
    check("it is well", same, (0, True), (status, found["is_well"]))
    libraries = [one for one in found["servers"][0]["findings"] if one["code"] == "library"]
    check("with both workers", same, 3, len(libraries[0]["pids"]))
    status, found = scene.asks_json("doctor", "nginx")
    check("it is found by its name", lambda: master.pid in {one["pid"] for one in found["servers"]})
    master.kill()
    # A parent with the library whose child is started without the variables, as Dovecot does.
    port = free_port()
    parent = processes.start(
        "sh", "-c", 'env -i PATH="$PATH" "$@" & wait', "-", "openssl", "s_server", "-accept",
        f"127.0.0.1:{port}", "-cert", scene.files / "certificate.pem", "-key",
        scene.files / "key.pem", "-quiet", log=scene.work / "parent.log", env=scene.library())
    wait_until(10, is_listening, port, parent.pid)
    status, found = scene.asks_json("doctor", str(parent.pid))
    check("a lost environment is told", same, (1, "bad"), (status, grades(found)["library-lost"]))


def doctor_nobody(scene):
    """No such server, and bad input."""
    for words, code in ((["no-such-server"], 1), ([str(2 ** 22 + 1)], 1), (["a", "b"], 2)):
        status, printed, said = scene.asks("doctor", *words)
        check(f"{words}", same, (code, "", 1), (status, printed, said.count("\n")))


def finds(scene, port, code, grade, mend):
    """The server of this port has the finding, whose mend begins so; the status fits."""
    status, found = scene.asks_json("doctor", scene.pid(port))
    check(f"{code} is found", same, grade, grades(found).get(code))
    check(f"{code} has its mend", lambda: mend is None or mend in of_code(found, code)["mend"])
    check(f"{code} is in the status", same, int(grade == "bad"), status)


def of_code(found, code):
    return next(one for one in found["servers"][0]["findings"] if one["code"] == code)


def text(found, code):
    return of_code(found, code)["text"]


def grades(found):
    """{code: grade} of the first server."""
    return {one["code"]: one["grade"] for one in found["servers"][0]["findings"]}
