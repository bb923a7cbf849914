#!/usr/bin/env python3
"""Makes tables of what run.sh measured; standard library only.

  report.py show RAW                           a line a figure, for the terminal
  report.py results RAW                        results.tsv, on standard output
  report.py verdicts RESULTS                   how many bars (bars.tsv) are met, and which are not
  report.py document RESULTS MACHINE DOCUMENT  rewrites the tables between DOCUMENT's two markers
  report.py store RESULTS MACHINE DOCUMENT     the same between the two markers of the host store
  report.py before RESULTS MACHINE DOCUMENT    the same between those of the store beside an earlier one
  report.py admission RESULTS MACHINE DOCUMENT the same between those of admission

RAW has a line a measurement: the number of the pair of runs, then bench.h's fields. A ratio is
stock's figure over ours (ours over stock's where more is better), pair by pair; it is believed only
if all pairs are on one side of 1. Of the host store some figures have no counterpart.
"""
import fnmatch
import math
import pathlib
import re
import statistics
import sys

FIELDS = ("case", "parameters", "unit", "stock", "ours", "ratio", "least", "most", "believed",
          "bar", "verdict", "stock_switches", "ours_switches", "stock_least", "stock_most",
          "ours_least", "ours_most")
NUMBERS = ("stock", "ours", "ratio", "least", "most", *FIELDS[-4:])
FIGURES = "<!-- figures: made by benches/run.sh -->", "<!-- end of figures -->"
STORE_FIGURES = ("<!-- store figures: made by benches/run.sh --store -->",
                 "<!-- end of store figures -->")
ADMISSION_FIGURES = ("<!-- admission figures: made by benches/run.sh --admission -->",
                     "<!-- end of admission figures -->")
BEFORE_FIGURES = ("<!-- before figures: made by benches/run.sh --before -->",
                  "<!-- end of before figures -->")
# Units in which more is better.
RATES = ("times", "/s")


def read_pairs(path):
    """{(case, parameters): {"unit": u, "stock": {pair: (value, switches)}, "ours": ...}}"""
    pairs = {}
    for line in pathlib.Path(path).read_text().splitlines():
        pair, way, case, parameters, value, unit, voluntary, involuntary, _ = line.split("\t")
        entry = pairs.setdefault((case, parameters), {"unit": unit, "stock": {}, "ours": {}})
        entry[way][int(pair)] = (float(value), int(voluntary), int(involuntary))
    return pairs


def add_scaling(pairs):
    """Operations a second with two threads over those with one, as cases of their own."""
    for (case, parameters), two in list(pairs.items()):
        one = pairs.get((case, parameters.replace("threads=2", "threads=1")))
        if not case.startswith("mix_") or "threads=2" not in parameters or one is None:
            continue
        scaling = {"unit": "times"}
        for way in ("stock", "ours"):
            scaling[way] = {pair: (one[way][pair][0] / value[0], *value[1:])
                            for pair, value in two[way].items() if pair in one[way]}
        pairs[case + "_scaling", parameters.split()[0]] = scaling


def read_bars():
    path = pathlib.Path(__file__).with_name("bars.tsv")
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
    return [line.split("\t") for line in lines]


def judge(row, bars):
    """The bar of a figure and whether it is met."""
    for case, parameters, kind, number in bars:
        if not (fnmatch.fnmatchcase(row["case"], case)
                and fnmatch.fnmatchcase(row["parameters"], parameters)):
            continue
        bar = float(number)
        more = (row["ours"] / row["stock"] - 1) * 100 if row["stock"] > 0 else 0.0
        text, is_met = {
            "faster": (f"{bar:g} times faster", row["ratio"] >= bar),
            "noslower": ("no slower", row["most"] >= 1),
            "even": ("at least stock's", row["ratio"] >= 1),
            "atmost": (f"at most {bar:g} {row['unit']}", row["ours"] <= bar),
            "atleast": (f"over {bar:g}", row["ours"] > bar),
            "percent": (f"at most {bar:g} % more", more <= bar),
        }[kind]
        if kind == "faster" and not row["believed"] and row["most"] >= bar:
            return text, "uncertain"
        if kind == "even" and not row["believed"]:
            return text, "uncertain"
        return text, "met" if is_met else "missed"
    return "", ""


def middle_and_ends(values):
    if not values:
        return math.nan, math.nan, math.nan
    return statistics.median(values), min(values), max(values)


def summarise(pairs):
    bars = read_bars()
    rows = []
    for (case, parameters), entry in pairs.items():
        stock, ours = entry["stock"], entry["ours"]
        both = sorted(set(stock) & set(ours))
        # A figure of 0 is below what the clock sees.
        ratios = [max(stock[pair][0], 0.01) / max(ours[pair][0], 0.01) for pair in both]
        if entry["unit"] in RATES:
            ratios = [1 / ratio for ratio in ratios]
        row = {"case": case, "parameters": parameters, "unit": entry["unit"]}
        row["ratio"], row["least"], row["most"] = middle_and_ends(ratios)
        row["believed"] = row["least"] > 1 or row["most"] < 1
        for way, values in (("stock", stock), ("ours", ours)):
            row[way], row[way + "_least"], row[way + "_most"] = middle_and_ends(
                [value[0] for value in values.values()])
            row[way + "_switches"] = "/".join(
                f"{statistics.median(value[field] for value in values.values()):.0f}"
                for field in (1, 2) if values)
        row["bar"], row["verdict"] = judge(row, bars)
        rows.append(row)
    # By case, in the order in which they first came; scaling after what it is made of.
    order = {case: number for number, (case, _) in reversed(list(enumerate(pairs)))}
    return sorted(rows, key=lambda row: (order[row["case"].removesuffix("_scaling")],
                                         row["case"].endswith("_scaling")))


def write_results(rows):
    print(*FIELDS, sep="\t")
    for row in rows:
        shown = dict(row, believed="yes" if row["believed"] else "no")
        print(*(f"{value:.6g}" if isinstance(value, float) else value
                for value in (shown[field] for field in FIELDS)), sep="\t")


def read_results(path):
    lines = pathlib.Path(path).read_text().splitlines()
    rows = [dict(zip(FIELDS, line.split("\t"))) for line in lines[1:]]
    for row in rows:
        row["believed"] = row["believed"] == "yes"
        for field in NUMBERS:
            row[field] = float(row[field])
    return rows


def three_digits(value):
    if value >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def amount(value, unit):
    """Three digits and a fitting unit."""
    if math.isnan(value):
        return "–"
    units = ["ns", "µs", "ms", "s"]
    unit = {"us": "µs", "instructions": "", "times": ""}.get(unit, unit)
    while unit in units[:-1] and value >= 999.5:
        value, unit = value / 1000, units[units.index(unit) + 1]
    return f"{three_digits(value)} {unit}".strip()


def spread(row):
    if math.isnan(row["ratio"]):
        return ""
    ratio, least, most = (three_digits(row[field]) for field in ("ratio", "least", "most"))
    text = f"{ratio} ({least} … {most})"
    return text if row["believed"] else text + " ?"


def show(rows):
    for row in rows:
        print(f"    {row['case']:<26} {row['parameters']:<38} "
              f"{amount(row['stock'], row['unit']):>10} {amount(row['ours'], row['unit']):>10}  "
              f"{spread(row):<30} {row['stock_switches']:>9} {row['ours_switches']:>9}  "
              f"{row['bar']}{': ' if row['bar'] else ''}{row['verdict']}")


def verdicts(rows):
    judged = [row for row in rows if row["verdict"]]
    show(row for row in judged if row["verdict"] != "met")
    print("bars: " + counted(judged))


def table(heads, lines):
    yield "| " + " | ".join(heads) + " |"
    words = ("case", "", "bar", "goal")
    yield "|" + "|".join("---" if head in words else "---:" for head in heads) + "|"
    for line in lines:
        yield "| " + " | ".join(line) + " |"
    yield ""


def parameters_of(row):
    """Sessions, threads or processes and the rest, in words."""
    rest = row["parameters"]
    number = re.search(r"n=(\d+)", rest)
    several = re.search(r"(threads|processes)=(\d+)", rest)
    rest = re.sub(r"\s*\b(n|threads|processes)=\d+", "", rest)
    sessions = f"{int(number[1]):,}" if number else ""
    name = row["case"].replace("_", " ") + (", " + rest if rest else "")
    if several and several[2] != "1":
        name += f", {several[2]} {several[1]}"
    return name, sessions


def figures(row):
    return [*parameters_of(row), amount(row["stock"], row["unit"]),
            amount(row["ours"], row["unit"]), spread(row)]


def counted(judged):
    count = {verdict: sum(row["verdict"] == verdict for row in judged)
             for verdict in ("met", "missed", "uncertain")}
    return f"{count['met']} met, {count['missed']} missed, {count['uncertain']} uncertain."


def verdict(row):
    return [row["bar"], "**missed**" if row["verdict"] == "missed" else row["verdict"]]


def rewrite(path, markers, lines):
    path = pathlib.Path(path)
    begin, end = markers
    head, rest = path.read_text().split(begin)
    _, tail = rest.split(end)
    path.write_text(head + "\n".join([begin, "", *lines]) + end + tail)


def document(rows, machine, path):
    judged = [row for row in rows if row["verdict"]]
    lines = [f"Machine: {machine}.", "", "### The bars", "", counted(judged), ""]
    lines += table(["case", "sessions", "stock", "sesscache", "ratio", "bar", ""],
                   (figures(row) + verdict(row) for row in judged))
    lines += ["### Everything that was measured", ""]
    lines += table(["case", "sessions", "stock", "sesscache", "ratio", "switches, stock",
                    "switches, sesscache"],
                   (figures(row) + [row["stock_switches"], row["ours_switches"]] for row in rows))
    rewrite(path, FIGURES, lines)


def with_ends(row, way):
    """The median, and the least and the most if they differ."""
    ends = [amount(row[f"{way}_{end}"], row["unit"]) for end in ("least", "most")]
    middle = amount(row[way], row["unit"])
    return middle if ends[0] == ends[1] else f"{middle} ({ends[0]} … {ends[1]})"


def store(rows, machine, path):
    lines = [f"Machine: {machine}. Goals: " + counted([row for row in rows if row["verdict"]]), ""]
    lines += table(["case", "records", "stock", "sesscache", "ratio", "goal", ""],
                   ([*parameters_of(row), with_ends(row, "stock"), with_ends(row, "ours"),
                     spread(row), *verdict(row)] for row in rows))
    rewrite(path, STORE_FIGURES, lines)


def before(rows, machine, path):
    lines = [f"Machine: {machine}. Bars: " + counted([row for row in rows if row["verdict"]]), ""]
    lines += table(["case", "records", "before", "now", "ratio", "bar", ""],
                   ([name.removeprefix("before "), records, with_ends(row, "stock"), with_ends(row, "ours"),
                     spread(row), *verdict(row)]
                    for row in rows for name, records in [parameters_of(row)]))
    rewrite(path, BEFORE_FIGURES, lines)


def admission(rows, machine, path):
    lines = [f"Machine: {machine}. Bars: " + counted([row for row in rows if row["verdict"]]), ""]
    for row in rows:
        row["more"] = f"{(row['ours'] / row['stock'] - 1) * 100:+.2f} %"
        row["by"] = amount(row["ours"] - row["stock"], row["unit"]) if row["ours"] > row["stock"] else ""
    lines += table(["case", "before", "after", "more", "in percent", "bar", ""],
                   ([parameters_of(row)[0], with_ends(row, "stock"), with_ends(row, "ours"),
                     row["by"], row["more"], *verdict(row)] for row in rows))
    rewrite(path, ADMISSION_FIGURES, lines)


def main():
    command, path, *rest = sys.argv[1:]
    if command in ("show", "results"):
        pairs = read_pairs(path)
        add_scaling(pairs)
        rows = summarise(pairs)
        (show if command == "show" else write_results)(rows)
    elif command == "verdicts":
        verdicts(read_results(path))
    elif command in ("document", "store", "before", "admission"):
        globals()[command](read_results(path), *rest)
    else:
        sys.exit(__doc__)


main()
