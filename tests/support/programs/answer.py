"""Stands for pytest: `answer SQLITE POSTGRES --database NAME`.

It says the name of its database, and ends with the status that this database has.
"""

import argparse
import sys

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("sqlite", type=int)
    parser.add_argument("postgres", type=int)
    parser.add_argument("--database", required=True)
    asked, _ = parser.parse_known_args()
    print(asked.database, "said")
    sys.exit(getattr(asked, asked.database))
