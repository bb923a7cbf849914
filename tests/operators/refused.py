"""Servers that `sesscache enable` refuses, because they have nothing to gain or must not share."""

from harness.verdicts import check, same

from . import page
from .machine import Machine

# Name for `enable`, package, words of the reason.
REFUSED = (
    ("vsftpd", "vsftpd", "must not share sessions"),
    ("exim4", "exim4-daemon-light", "nothing to gain"),
    ("postgresql", "postgresql", "nothing to gain"),
)


def part(release, packages, work):
    machine = Machine(release, "refused", work, "first")
    inside = [f"/root/{package.name}" for package in packages]
    try:
        for package, place in zip(packages, inside):
            machine.put(package, place)
        machine.boot()
        machine.do("dpkg", "--install", *inside)
        before = machine.tree()
        said = {}
        for name, package, reason in REFUSED:
            said[name] = machine.do("sesscache", "enable", name, status=1).strip()
            check(f"{name}: {said[name]}", reason in said[name])
            page.note_refusal(machine, name, package, said[name].partition(": ")[2])
        check("nothing was made", same, [], sorted(set(before) ^ set(machine.tree())))
        page.write()
    finally:
        machine.off()
