"""`python -m tests.mutations conditionals [PATH…]`: takes out each condition and each filter.

Each `if`, `while`, choice and returned comparison becomes true, then false; each operand of `and` and
`or`, each filter of a comprehension and each argument of a query is left out. For each of these changes
the nearest tests that saw the changed value run, the fastest first, until one fails.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.mutations.conditionals import keeping
from tests.mutations.conditionals.finding import below, excused, sources
from tests.mutations.conditionals.keeping import Seen, Trial
from tests.mutations.conditionals.mutant import Mutant
from tests.mutations.conditionals.trying import NEAREST, Copy, a_copy
from tests.mutations.running import ROOT

KEPT: Final = ROOT / "var" / "conditionals"
MOST_SECONDS: Final = 60.0
SAVED_EVERY: Final = 10  # files of tests


def main(words: Sequence[str]) -> int:
    """Try out the conditions of the named paths; return 0 if each was caught or is excused."""
    options = _parser().parse_args(words)
    if options.list:
        found = [mutant for source in sources(ROOT, "") for mutant in source.mutants]
        print("\n".join(mutant.name for mutant in below(found, options.paths)))
        return 0
    trials = keeping.load_trials(KEPT / "trials.json")
    with a_copy(options.tests) as copy:
        seen = _recorded(copy, options.seconds, again=options.record)
        everything = [mutant for source in copy.sources for mutant in source.mutants]
        chosen = below(everything, options.paths)
        seen = seen.of(options.tests)
        names = {mutant.name for mutant in everything}
        trials = {name: trial for name, trial in trials.items() if name in names}
        todo = keeping.again(chosen, trials) if options.resume else chosen
        _try_out(copy, todo, seen, trials, options.seconds)
    return _report(chosen, trials, options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutations conditionals", description=__doc__
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files and folders (all)")
    parser.add_argument("--list", action="store_true", help="print the names and run nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    parser.add_argument(
        "--resume", action="store_true", help="leave out what was caught and has not changed"
    )
    parser.add_argument(
        "--tests", nargs="+", default=NEAREST, metavar="PATH", help="folders of the tests to use"
    )
    parser.add_argument("--record", action="store_true", help="record again what each test sees")
    parser.add_argument(
        "--seconds", type=float, default=MOST_SECONDS, help="of tests for each mutant (%(default)g)"
    )
    return parser


def _recorded(copy: Copy, seconds: float, *, again: bool) -> Seen:
    """What each test sees; only new and changed tests run, or all of them `again`.

    A test that is known to take longer than the time for one change is not recorded anew.
    """
    path = KEPT / "seen.json"
    seen, stamps = Seen() if again else keeping.load_seen(path), copy.stamps()
    stale = seen.stale(stamps)
    if not stale:
        return seen
    print(f"recording what the tests of {len(stale)} files see", flush=True)
    for n, file in enumerate(copy.record(stale, seen, seconds), 1):
        print(f"  {n}/{len(stale)} {file}", flush=True)
        seen.stamps[file] = stamps[file]
        if n % SAVED_EVERY == 0:
            keeping.save_seen(path, seen)
    seen.stamps.update(stamps)
    here = {name for name in seen.tests if (ROOT / name.partition("::")[0]).exists()}
    seen.tests = {name: seen.tests[name] for name in here}
    keeping.save_seen(path, seen)
    for name, test in seen.tests.items():
        if test["failed"]:
            print(f"  fails without any change, so it does not count: {name}", flush=True)
    return seen


def _try_out(
    copy: Copy, todo: list[Mutant], seen: Seen, trials: dict[str, Trial], seconds: float
) -> None:
    try:
        for n, (mutant, trial) in enumerate(copy.try_out(todo, seen, seconds, trials), 1):
            trials[mutant.name] = trial
            if trial.became != "caught" or n % 25 == 0:
                by = f" by {trial.by}" if trial.by else ""
                print(f"{n}/{len(todo)} {trial.became:6} {mutant.name}{by}", flush=True)
            if n % 10 == 0:
                keeping.save_trials(KEPT / "trials.json", trials)
    finally:
        keeping.save_trials(KEPT / "trials.json", trials)


def _report(chosen: list[Mutant], trials: dict[str, Trial], file: Path | None) -> int:
    reasons = excused()
    counts = Counter[str]()
    survivors = []
    for mutant in chosen:
        trial = trials.get(mutant.name, Trial(became="not tried"))
        became = "excused" if trial.became != "caught" and mutant.name in reasons else trial.became
        counts[became] += 1
        if became not in {"caught", "excused"}:
            tests = f" ({trial.ran} of {trial.might} tests ran)" if trial.might else ""
            survivors.append(f"{became:9} {mutant.file}:{mutant.line} {mutant.name}{tests}")
    print("\n".join(survivors))
    print(", ".join(f"{n} {became}" for became, n in sorted(counts.items())))
    if file is not None:
        results = {
            mutant.name: asdict(trials[mutant.name]) for mutant in chosen if mutant.name in trials
        }
        file.write_text(json.dumps({**counts, "mutants": results}, indent=1), encoding="utf-8")
    return 1 if survivors else 0
