"""The columns of docs/PARITY.md that say what the C tests of a function came to on each OpenSSL."""

from harness.built import ROOT

from . import page

PAGE = ROOT / "docs" / "PARITY.md"
# The title of a column, the version that its system's OpenSSL begins with, and the step.
COLUMNS = (("3.0", "3.0.", "c"), ("3.5", "3.5.", "c"), ("3.6", "3.6.", "c"), ("4.0", "4.0.", "c"),
           ("3.6, upstream's", "3.0.", "upstream"))
FIRST = "| function |"


def write():
    lines = PAGE.read_text().splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith(FIRST))
    tests = [_tests_of(version, step) for _, version, step in COLUMNS]
    titles = [title for title, *_ in COLUMNS]
    for number in range(head, len(lines)):
        if not lines[number].startswith("|"):
            break
        function, same, *_, names = (cell.strip() for cell in lines[number].strip("|").split("|"))
        if number == head:
            cells = titles
        elif number == head + 1:
            cells = ["---"] * len(titles)
        else:
            cells = [_cell(found, names) for found in tests]
        lines[number] = f"| {' | '.join((function, same, *cells, names))} |"
    PAGE.write_text("\n".join(lines) + "\n")


def _tests_of(version, step):
    """By name of the C test: in how many ways it passed, failed and was skipped."""
    for found in page.results().values():
        if found["programs"]["OpenSSL"].startswith(version) and "tests" in found.get(step, {}):
            return found[step]["tests"]
    return {}


def _cell(found, names):
    known = [found[name] for name in names.replace(",", " ").split() if name in found]
    passed, failed, skipped = (sum(column) for column in zip(*known, strict=True)) if known else (0, 0, 0)
    if not passed + failed:
        return ""
    return f"{passed} of {passed + failed}" + (f", {skipped} skipped" if skipped else "")
