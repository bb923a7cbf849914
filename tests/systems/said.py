"""What a run said: its counts, its reasons, the C tests by name, and the parts of `make test`."""

import re

_SUITE = re.compile(r"^(?!total:)[a-z-]+: (\d+) passed, (\d+) failed(?:, (\d+) skipped)?", re.M)
_CARGO = re.compile(r"^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored", re.M)
_TOTAL = re.compile(r"^total: (\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
_REASON = re.compile(r"^(?:FAIL|SKIP|\s*# skipped)[ :]*(.*)$", re.M)
_C_TEST = re.compile(r"^(\w+): ((?:(?:passed|failed|skipped) \w+(?:, )?)+)$", re.M)
# As .ci/steps frames a target, and tests/harness a part.
_TARGET = re.compile(r"^=== make ([\w-]+) \([\d:]+\)\n((?:(?!=== ).*\n)*)=== (\d+) s$", re.M)
_PART = re.compile(r"^== (\w+)\n((?:(?!== ).*\n)*?)   \((\d+) passed, ([\d.]+) s\)$", re.M)

_IS_RED = " is red"


def counts(said):
    """As .ci/steps counts: suites and cargo close with their counts."""
    columns = list(zip(*_SUITE.findall(said) + _CARGO.findall(said), strict=True))
    return tuple(sum(int(each or 0) for each in column) for column in columns) or (0, 0, 0)


def result(said, seconds, counted=None):
    """As docs/SYSTEMS.md shows it."""
    passed, failed, skipped = counted or counts(said)
    found = {"passed": passed, "failed": failed, "skipped": skipped, "seconds": round(seconds),
             "said": _reasons(said)}
    if tests := _c_tests(said):
        found["tests"] = tests
    return found


def again(before, found):
    """A result of C tests after some of them ran again."""
    tests = before["tests"] | found["tests"]
    passed, failed, skipped = (sum(column) for column in zip(*tests.values(), strict=True))
    old = [reason for reason in before["said"].split("; ")
           if reason.removesuffix(_IS_RED) not in found["tests"]]
    return found | {"passed": passed, "failed": failed, "skipped": skipped, "tests": tests,
                    "seconds": before["seconds"] + found["seconds"],
                    "said": "; ".join(reason for reason in (*old, found["said"]) if reason)}


def of_make_test(said, steps):
    """By name, the results of the steps that `make test`, or .ci/run, goes through."""
    targets = {name: (text, int(seconds)) for name, text, seconds in _TARGET.findall(said)}
    servers = {name: (text, int(good), float(seconds)) for name, text, good, seconds
               in _PART.findall(targets.get("test-servers", ("", 0))[0])}
    for step in steps:
        if step.target in targets:
            text, seconds = targets[step.target]
            counted = counts(text)
            yield step.name, result(text, seconds, counted if sum(counted) else (1, 0, 0))
        elif parts := [servers[name] for name in step.servers if name in servers]:
            texts, good, seconds = zip(*parts, strict=True)
            text = "".join(texts)
            counted = (sum(good), *(len(re.findall(f"^{word} ", text, re.M)) for word in ("FAIL", "SKIP")))
            yield step.name, result(text, sum(seconds), counted)


def the_whole(said):
    """`make test`, which is the first of the totals."""
    total = _TOTAL.search(said)
    before = said[:total.start()]
    seconds = sum(int(seconds) for *_, seconds in _TARGET.findall(before))
    return result(before, seconds, tuple(map(int, total.groups())))


def programs(said):
    """The commit and the versions at the head of what .ci/run says, as steps.versions takes them."""
    head = said.partition("=== with\n")[2].partition("\n\n")[0]
    packages = dict(re.findall(r"^([a-z][a-z0-9-]*) (\S+)$", head, re.M))
    packages["redis-server"] = re.search(r"^Redis server v=(\S+)", head, re.M)[1]
    commit = head.partition("\n")[0]
    openssl = re.search(r"^OpenSSL (\S+)", head, re.M)[1]
    gcc = re.search(r"^gcc .* (\S+)$", head, re.M)[1]
    return commit, openssl, packages["libc6"].partition("-")[0], gcc, packages


def _reasons(said):
    red = [name + _IS_RED for name, ways in _C_TEST.findall(said) if "failed" in ways]
    return "; ".join(dict.fromkeys([*_REASON.findall(said), *red]))[:300]


def _c_tests(said):
    """Of each C test, in how many ways it passed, failed and was skipped."""
    return {name: [ways.count(word) for word in ("passed", "failed", "skipped")]
            for name, ways in _C_TEST.findall(said)}
