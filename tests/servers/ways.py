"""The three ways a server is run, the stages it is taken through, and the table of resumptions.

  ways     stock; preload, the library without a store; store, the library with a store of its own
  stages   now; reload; restart, the server stopped and started; kill, all its processes killed with
           SIGKILL at once and started

Before each stage a session is made in each row and protocol, and after it offered. WAYS names the
ways to run, if not all: WAYS="stock store".
"""

import os
from dataclasses import dataclass
from itertools import groupby, product

from harness.run import run
from harness.tls import make_certificate
from harness.verdicts import Skipped, check, fail, happens, note_skip, passed

WAYS = ("stock", "preload", "store")
PROTOCOLS = ("1.2", "1.3")
STAGES = ("now", "reload", "restart", "kill")
TRIES = 50  # connections that offer one saved session


@dataclass(frozen=True)
class Row:
    """A line of the table: a configuration, and how many of the tries must resume.

    now and reload have a word for each way: all, none, some (neither all nor none) or any (at least
    as many as on stock). After restart and kill the memory of the processes is gone: none, none,
    and with the store as many as now, but none under another name, unless restart says otherwise.
    A row without these words is for checks of the server's own module."""

    setup: str  # one run of the server
    config: str  # one port of it
    now: str = ""
    reload: str = ""
    restart: str = ""
    judged: str = ""  # the protocol of the words, if not of both; of the other only errors count
    # used: the session is offered before the stage too, not only after it.
    # second name: asks for second.test instead of first.test.
    # other name: for first.test when the session is made, and for second.test when it is offered.
    variant: str = ""

    @property
    def title(self):
        return f"{self.config}, {self.variant}" if self.variant else self.config

    @property
    def name_to_save(self):
        return "second.test" if self.variant == "second name" else "first.test"

    @property
    def name_to_offer(self):
        return "second.test" if self.variant in ("second name", "other name") else "first.test"

    def expected(self, stage, way):
        # What another process has made is bound to the server name.
        with_store = "none" if self.variant == "other name" else self.now.split()[-1]
        words = {"now": self.now, "reload": self.reload}.get(
            stage, self.restart or f"none none {with_store}")
        return words.split()[WAYS.index(way)]


# --- one run ------------------------------------------------------------------------------------

class Course:
    """Takes a server through stages. figures: by (row, protocol, stage)."""

    def __init__(self, server):
        self.server = server
        self.figures = {}

    def go(self, steps):
        """Calls the function with this course, between the server's start and its end."""
        server = self.server
        try:
            server.configure()
            server.bring_up()
            steps(self)
            server.bring_down()
        except AssertionError as error:
            error.args = (f"{server}: {error}; the end of its logs:\n{server.ends_of_logs()}",)
            raise
        what = f"{server.setup}, {server.way}"
        check(f"{what}: nothing bad in the server's log", server.log_is_clean)
        check(f"{what}: the library complains of nothing", server.library_is_content)

    def stage(self, name, change):
        self.server.stage = name
        pairs = list(product(PROTOCOLS, self.server.rows))
        for protocol, row in pairs:
            self._save(row, protocol)
            if row.variant == "used":
                self._offer(row, protocol)
        change()
        for protocol, row in pairs:
            self._offer(row, protocol)
        self.server.check_health()

    def _file(self, row, protocol):
        return self.server.dir / f"{self.server.rows.index(row)}-{protocol}.session"

    def _save(self, row, protocol):
        """If it fails the file has no session, and to offer it is the error that counts."""
        client = self.server.client_for(row.name_to_save).of(protocol=protocol)
        try:
            client.save(self.server.place_to_save(row), self._file(row, protocol))
        except AssertionError as error:
            self._say(row, protocol, error)

    def _offer(self, row, protocol):
        client = self.server.client_for(row.name_to_offer).of(protocol=protocol)
        key = row, protocol, self.server.stage

        def takes_turns():
            try:
                self.figures[key] = client.offer(self.server.ports[row], self._file(row, protocol), TRIES)
            except AssertionError as error:
                self._say(row, protocol, error)
                self.figures[key] = "error"
            return self.figures[key] != TRIES

        if row.now and row.expected(key[2], self.server.way) == "some":
            # A worker that has only just started may leave all connections to the other.
            happens(10, takes_turns)
        else:
            takes_turns()

    def _say(self, row, protocol, error):
        said = "\n     ".join(str(error).split("\n")).strip()
        print(f"     {self.server}, {row.title}, TLS {protocol}: {said}", flush=True)


def _through_stages(course):
    server = course.server
    course.stage("now", lambda: None)
    course.stage("reload", server.reload)
    course.stage("restart", lambda: (server.bring_down(), server.bring_up()))
    course.stage("kill", lambda: (server.kill(), server.bring_up()))


# --- the table ----------------------------------------------------------------------------------

def table_row(*cells):
    print("%-26s %-4s  %-9s  %-9s  %-9s  %-9s" % cells, flush=True)


def _print_table(setup, rows, figures):
    """figures: of each way that was run. Checks them against the rows, below the table."""
    wrong = []
    print(f"{setup}: of {TRIES}, resumed on stock/preloaded/with a store")
    table_row("config", "TLS", "now", "reload", "restart", "kill -9")
    for row, protocol in product(rows, PROTOCOLS):
        cells = []
        for stage in STAGES:
            found = {way: ours[row, protocol, stage] for way, ours in figures.items()}
            cells.append("/".join(str(found.get(way, "-")) for way in WAYS))
            wrong += _judge(row, protocol, stage, found)
        table_row(row.title, protocol, *cells)
    for message in wrong:
        fail(message)


def _judge(row, protocol, stage, found):
    """Counts the good ones; the texts of the others."""
    for way, figure in found.items():
        expected = row.expected(stage, way) if row.judged in ("", protocol) else "luck"
        if _is_as_expected(expected, figure, found.get("stock")):
            passed()
        else:
            yield f"{row.setup}, {row.title}, TLS {protocol}, {stage}: {way} resumed {figure}, " + (
                f"stock {found['stock']}" if expected == "any" and figure != "error"
                else f"not {expected}")


def _is_as_expected(expected, figure, stock):
    if figure == "error":
        return False
    return {"all": figure == TRIES,
            "none": figure == 0,
            "some": 0 < figure < TRIES,
            "luck": True,
            "any": stock in (None, "error") or figure >= stock}[expected]


# --- all of it ----------------------------------------------------------------------------------

def chosen(library, ways=WAYS):
    """Of the ways that a server may be run those that are to be run."""
    wanted = [way for way in ways if way in os.environ.get("WAYS", " ".join(WAYS)).split()]
    names = run("nm", "-D", "--defined-only", library).split()
    if "store" in wanted and "sesscache_store_attach" not in names:
        note_skip(f"with a store: {library} has none")
        wanted.remove("store")
    if not wanted:
        raise Skipped(f"WAYS names none of its ways: {' '.join(ways)}")
    return wanted


def run_rows(kind, rows, prepared, work):
    """Each setup of the rows in the ways, which are returned. kind: makes a Server of (rows, way,
    prepared, work)."""
    ways = chosen(prepared.library)
    make_certificate(work)
    for setup, of_setup in groupby(rows, key=lambda row: row.setup):
        of_setup, figures = list(of_setup), {}
        for way in ways:
            course = Course(kind(of_setup, way, prepared, work))
            course.go(_through_stages)
            figures[way] = course.figures
        _print_table(setup, of_setup, figures)
    return ways
