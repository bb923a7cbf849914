"""The agent refuses wrong options before it does anything, and says which."""

import re

from harness.run import result
from harness.verdicts import check, same


def refuses(scene, code, pattern, *options):
    """The agent ends with this code, and with one line like this on stderr."""
    done = result(scene.command, "agent", *options, seconds=20)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"it ended with {done.returncode}, not {code}: {said}"
    same("", done.stdout)
    lines = [line for line in done.stderr.splitlines() if line.startswith("sesscache: ")]
    assert len(lines) == 1 and re.fullmatch(f"sesscache: {pattern}", lines[0]), said
    return True


def command_line(scene):
    scene.start_redis()
    store = ("--store", scene.host("a").store)
    redis = ("--redis", scene.url)
    none = scene.work / "none"
    nowhere = re.escape(f"{none}: ") + ".*"
    taken = f"127.0.0.1:{scene.redis_port}"

    def refused(what, code, pattern, *options):
        check(what, refuses, scene, code, pattern, *options)

    refused("no store", 2, ".*--store <STORE>.*", *redis)
    refused("no Redis", 2, ".*--redis <URL>.*", "--store", "/x")
    for option in ("--once", "--cluster", ("--streams", "2"), ("--retention", "1h"), ("--user", "u")):
        words = (option,) if isinstance(option, str) else option
        refused(f"{words[0]} without Redis", 2, ".*--redis <URL>.*", "--store", "/x", "--metrics",
                ":0", *words)
    for address in "9464", "::1:9464", "localhost:http", "a b:1":
        refused(f"metrics at {address}", 2, ".*an ADDRESS:PORT like .*", "--store", "/x",
                "--metrics", address)
    refused("a name without an address", 1, "--metrics nowhere.invalid:9464: .*", "--store", "/x",
            "--metrics", "nowhere.invalid:9464")
    refused("not a URL", 2, "--redis takes redis://.*", "--store", "/x", "--redis",
            "127.0.0.1:6379")
    check("a password is in no message", tells_no_secret, scene)
    refused("memory", 2, "a shm: store .*", "--store", "shm:", *redis)
    refused("a wrong store", 2, "file: needs a path.*", "--store", "file:x", *redis)
    refused("several without --cluster", 2, "several .*", "--store", "/x", "--redis",
            "redis://a,redis://b")
    refused("a cluster by unix socket", 2, "a cluster .*", "--store", "/x", "--redis",
            "unix:///x", "--cluster")
    refused("a user without a password", 2, "a user needs a password.*", "--store", "/x", *redis,
            "--user", "u")
    refused("no such time", 2, "--retention 1w.*", "--store", "/x", *redis, "--retention", "1w")
    refused("a lifetime without a key file", 2, ".*--key-file <FILE>.*", "--store", "/x", *redis,
            "--max-lifetime", "1d")
    refused("a bad name", 2, r'--name "a\{b\}".*', "--store", "/x", *redis, "--name", "a{b}")
    refused("too many streams", 2, ".*64.*", "--store", "/x", *redis, "--streams", "64")
    refused("no store with --once", 1, nowhere, "--store", none, "--once", *redis)
    refused("no password file", 1, f"{none}, which an option names: No such .*", *store, *redis, "--password-file", none)
    refused("no Redis there, with --once", 1, "Redis is unreachable: .*", *store, "--once",
            "--redis", f"unix://{none}")
    refused("metrics where somebody listens", 1, re.escape(f"--metrics {taken}: ") + ".*",
            *store, *redis, "--metrics", taken)


def tells_no_secret(scene):
    done = result(scene.command, "agent", "--store", "/x", "--redis", "http://u:secret@x",
                  seconds=5)
    said = done.stdout + done.stderr
    assert said and "secret" not in said, said
    return True
