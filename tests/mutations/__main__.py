"""`python -m tests.mutations [NAME…] [--json] [--list]`: fails if no test notices a missing line.

`python -m tests.mutations conditionals [PATH…]` takes out conditions and filters instead.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict

from tests.mutations.conditionals import command
from tests.mutations.lines import LINES
from tests.mutations.running import Became, copied, failure_without_mutations, try_out


def main() -> int:
    """Run the named mutations, or all; return 0 if a test caught each of them."""
    if sys.argv[1:2] == ["conditionals"]:
        return command.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="the mutations to run (all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--list", action="store_true", help="print the names and run nothing")
    options = parser.parse_args()
    known = {mutation.name: mutation for mutation in LINES}
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; --list shows the names")
    chosen = [known[name] for name in options.names] or list(LINES)
    if options.list:
        print("\n".join(mutation.name for mutation in chosen))
        return 0
    results = []
    with copied() as copy:
        if trouble := failure_without_mutations(copy, chosen):
            print(f"the tests fail without any mutation:\n{trouble}", file=sys.stderr)
            return 2
        for mutation in chosen:
            result = try_out(copy, mutation)
            results.append(result)
            if not options.json:
                print(
                    f"{result.became:7} {result.name}: {result.by} ({result.seconds:g} s)",
                    flush=True,
                )
    counts = Counter(result.became.value for result in results)
    summary = {became.value: counts[became.value] for became in Became}
    if options.json:
        print(json.dumps({**summary, "mutations": [asdict(result) for result in results]}))
    else:
        print(", ".join(f"{n} {became}" for became, n in summary.items()))
    return 0 if counts[Became.CAUGHT.value] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
