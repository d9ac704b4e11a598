"""What the start command leaves out of the program that it holds."""

from pods.accounts.start_command import short

PROGRAM = '''"""What it is for."""
import sys

class Odd(Exception):
    """Raised where it is odd."""

class Even:
    """Has a name."""

    name: str = "even"

def fetch(address: str, *words: str) -> bytes:
    """Ask for it."""
    if words:
        raise Odd(address)
    return b""

def end() -> None:
    sys.exit("no docstring here")
'''
SHORT = """import sys

class Odd(Exception):
 pass

class Even:
 name: str = 'even'

def fetch(address, *words):
 if words:
  raise Odd(address)
 return b''

def end():
 sys.exit('no docstring here')"""


def test_the_short_program_has_no_docstrings_and_no_types_of_arguments() -> None:
    assert short(PROGRAM) == SHORT
