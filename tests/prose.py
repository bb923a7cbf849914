#!/usr/bin/env python3
"""Keeps the prose plain, in two figures: the words of a sentence on the pages that explain the
design and its safety (below 18 on average), and the comment lines that begin with a stand-in for a
noun (below 1 %).

Usage: tests/prose.py              checks both, prints the figures, ends with 1 if one is missed
       tests/prose.py --long FILE  prints the sentences of FILE that have more than 25 words
       tests/prose.py --stand-ins  prints the comment lines that begin with a stand-in
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("docs/STORE.md", "docs/ARCHITECTURE.md", "docs/SECURITY.md", "SECURITY.md")
SOURCES = ("src", "core", "cli")
WORDS_A_SENTENCE = 18
LONG = 25
STAND_INS_PERCENT = 1

COMMENT = re.compile(r"(^|\s)//[/!]? (?P<text>\S.*)")
STAND_IN = re.compile(r"(What|Who|Whose|Whom|Those|One) ")
LIST_ITEM = re.compile(r"\s*([-*]|\d+\.) +")
SENTENCE_END = re.compile(r"(?<![ (]e\.g)(?<![ (]i\.e)(?<=[.?!])[)*\"]*\s+(?=\S)")


def paragraphs(text):
    """The running text of a Markdown page: no code, tables, headings or comments. An item of a list
    is a paragraph."""
    paragraph, fenced, blank, in_list = [], False, True, False
    for line in [*text.splitlines(), ""]:
        if line.startswith("```"):
            fenced = not fenced
        item = LIST_ITEM.match(line)
        code = fenced or line.startswith("```") or (blank and not in_list and line.startswith("    "))
        skipped = code or line.startswith(("|", "#", "<!--", "![")) or not line.strip()
        if paragraph and (skipped or item):
            yield " ".join(paragraph)
            paragraph = []
        if not skipped:
            paragraph.append(line[item.end():] if item else line.strip())
        if item:
            in_list = True
        elif line.strip() and not line.startswith(" "):
            in_list = False
        blank = not line.strip() or (code and blank)


def sentences(text):
    for paragraph in paragraphs(text):
        plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", name, paragraph))
        yield from filter(words, SENTENCE_END.split(plain))


def name(code):
    """As many words as the code has, and no full stop."""
    return " ".join("CODE" for _ in code[0].split())


def words(sentence):
    return sum(any(map(str.isalnum, word)) for word in sentence.split())


def comments():
    """Each line of the sources that has a comment, as file, number and text."""
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.rs")):
            for number, line in enumerate(file.read_text().splitlines(), 1):
                if found := COMMENT.search(line):
                    yield file.relative_to(ROOT), number, found["text"]


def check_pages():
    met = True
    for page in PAGES:
        counts = [words(sentence) for sentence in sentences((ROOT / page).read_text())]
        average = sum(counts) / len(counts)
        print(f"prose: {page}: {average:.1f} words a sentence (below {WORDS_A_SENTENCE}), "
              f"{sum(count > LONG for count in counts)} of {len(counts)} have more than {LONG}")
        if average >= WORDS_A_SENTENCE:
            met = False
            print(f"prose: FAIL, see tests/prose.py --long {page}")
    return met


def check_comments():
    lines = list(comments())
    stand_ins = sum(bool(STAND_IN.match(text)) for _, _, text in lines)
    percent = 100 * stand_ins / len(lines)
    print(f"prose: {stand_ins} of {len(lines)} comment lines begin with a stand-in for a noun: "
          f"{percent:.1f} % (below {STAND_INS_PERCENT})")
    if percent >= STAND_INS_PERCENT:
        print("prose: FAIL, see tests/prose.py --stand-ins")
    return percent < STAND_INS_PERCENT


def main(arguments):
    match arguments:
        case []:
            return all([check_pages(), check_comments()])
        case ["--long", file]:
            for sentence in sentences(Path(file).read_text()):
                if words(sentence) > LONG:
                    print(f"{words(sentence)}: {sentence}\n")
        case ["--stand-ins"]:
            for file, number, text in comments():
                if STAND_IN.match(text):
                    print(f"{file}:{number}: {text}")
        case _:
            sys.exit(__doc__)
    return True


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
