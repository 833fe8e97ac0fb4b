"""`python -m tests.conformance.suite [LANGUAGE...] [-k WORD]`: the table; the exit code is 1 where anything failed."""

from __future__ import annotations

import argparse
import os
import sys

from tests.conformance.suite.cases import load
from tests.conformance.suite.languages import LANGUAGES
from tests.conformance.suite.table import run, shown


def main(arguments: list[str]) -> int:
    """Run and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.suite")
    parser.add_argument("languages", nargs="*", help="those to run; all of them by default")
    parser.add_argument("-k", dest="word", default="", help="only cases whose topic or name has this word")
    options = parser.parse_args(arguments)
    wanted = {name.lower() for name in options.languages}
    languages = [language for language in LANGUAGES if not wanted or language.name.lower() in wanted]
    cases = [case for case in load() if options.word in case.title]
    if unknown := wanted - {language.name.lower() for language in LANGUAGES}:
        among = ", ".join(language.name for language in LANGUAGES)
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {among}")
    if not cases:
        parser.error(f"no case has {options.word!r} in its topic or name")
    rows = run(languages, cases)
    sys.stdout.write(shown(rows, cases) + "\n")
    missing = any(row.skipped for row in rows) and os.environ.get("NOISEGATE_REQUIRE_ALL") == "1"
    return 1 if missing or any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
