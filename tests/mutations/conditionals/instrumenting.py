"""Finds the conditions of a module, and rewrites it so that a number chooses which one is taken out.

Every change is in the rewritten module at once: `if a:` becomes
`if (True if probe.on == 7 else False if probe.on == 8 else probe.saw(3, a)):`. So a run needs no new
import for each mutant, and a recording run can note which values a test saw at which place.
"""

import ast
import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from tests.mutations.conditionals.mutant import ANY, FALSE, TRUE, Mutant

PROBE: Final = "mutation_probe"
QUERIES: Final = frozenset({"filter", "exclude"})
LONGEST_TEXT: Final = 160
NOT_FOR_TESTS: Final = frozenset({"TYPE_CHECKING", "__name__ == '__main__'"})
Function = TypeVar("Function", ast.FunctionDef, ast.AsyncFunctionDef)


def instrumented(
    source: str, file: str, folder: str, *, first: int, place: int
) -> tuple[str, list[Mutant], list[str]]:
    """The rewritten module, its mutants numbered from `first`, and its places from `place` on.

    The name of a place holds the stamp of its function: it changes with the function and with
    nothing else.
    """
    tree = ast.parse(source)
    writer = _Writer(file, first, place, stamp(source))
    tree = writer.visit(tree)
    prelude = ast.parse(PRELUDE.format(folder=folder, probe=PROBE)).body
    start = sum(1 for node in tree.body[:1] if _is_docstring(node))
    while start < len(tree.body) and _is_future(tree.body[start]):
        start += 1
    tree.body[start:start] = prelude
    return ast.unparse(ast.fix_missing_locations(tree)), _told_apart(writer.mutants), writer.places


PRELUDE: Final = """
import sys as {probe}_sys
if {folder!r} not in {probe}_sys.path:
    {probe}_sys.path.append({folder!r})
from mutation_probe import PROBE as {probe}
"""


def stamp(text: str) -> str:
    """A short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _told_apart(mutants: Iterable[Mutant]) -> list[Mutant]:
    """The mutants; of those with one name, each later one says the how many-th it is."""
    met = Counter[str]()
    told = []
    for mutant in mutants:
        told.append(replace(mutant, again=met[mutant.name]))
        met[mutant.name] += 1
    return told


class _Writer(ast.NodeTransformer):
    def __init__(self, file: str, first: int, place: int, module: str) -> None:
        self.file, self.places, self.mutants = file, list[str](), list[Mutant]()
        self._first, self._first_place, self._module = first, place, module
        self._functions, self._stamp, self._in_function = list[str](), "", 0

    def _mutant(
        self, node: ast.AST, kind: str, text: str, change: str, place: int, *values: str
    ) -> ast.Compare:
        """Note a mutant; return the test of whether it is on."""
        number = self._first + len(self.mutants)
        self.mutants.append(
            Mutant(
                number=number,
                file=self.file,
                line=getattr(node, "lineno", 0),
                function=".".join(self._functions),
                kind=kind,
                text=text[:LONGEST_TEXT],
                change=change[:LONGEST_TEXT],
                seen_as=tuple((place, value) for value in dict.fromkeys(values)),
                stamp=self._stamp,
            )
        )
        on = ast.Attribute(ast.Name(PROBE, ast.Load()), "on", ast.Load())
        return ast.Compare(on, [ast.Eq()], [ast.Constant(number)])

    def _next_place(self) -> int:
        self._in_function += 1
        within = f"{'.'.join(self._functions)}@{self._stamp or self._module}"
        self.places.append(f"{self.file} {within} {self._in_function}")
        return self._first_place + len(self.places) - 1

    # What is evaluated where

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Enter a function."""
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        """Enter an asynchronous function."""
        return self._function(node)

    def _function(self, node: Function) -> Function:
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.args.defaults = [self.visit(each) for each in node.args.defaults]
        outside = self._stamp
        if not outside:
            self._stamp, self._in_function = stamp(ast.unparse(node)), 0
        self._functions.append(node.name)
        node.body = [self.visit(each) for each in node.body]
        self._functions.pop()
        self._stamp = outside
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Enter a class."""
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        """Leave annotations alone."""
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        """An f-string with a condition becomes a join: a nested quote cannot be written on 3.11."""
        before = len(self.mutants)
        self.generic_visit(node)
        return _joined(node) if len(self.mutants) > before else node

    # Conditions

    def visit_If(self, node: ast.If) -> ast.If:
        """Take out the test of an `if`."""
        if ast.unparse(node.test) not in NOT_FOR_TESTS:
            node.test = self._condition(node.test, "if")
        node.body = [self.visit(each) for each in node.body]
        node.orelse = [self.visit(each) for each in node.orelse]
        return node

    def visit_While(self, node: ast.While) -> ast.While:
        """Take out the test of a `while`."""
        if not isinstance(node.test, ast.Constant):
            node.test = self._condition(node.test, "while")
        node.body = [self.visit(each) for each in node.body]
        node.orelse = [self.visit(each) for each in node.orelse]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.IfExp:
        """Take out the test of `a if b else c`."""
        node.test = self._condition(node.test, "choice")
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        """Take out each filter of a comprehension."""
        node.iter = self.visit(node.iter)
        node.ifs = [self._condition(each, "filter", always_only=True) for each in node.ifs]
        return node

    def visit_Return(self, node: ast.Return) -> ast.Return:
        """Take out a comparison that a function returns."""
        if node.value is not None:
            node.value = self._returned(node.value)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        """Take out a comparison that a lambda returns."""
        node.body = self._returned(node.body)
        return node

    def _returned(self, value: ast.expr) -> ast.expr:
        if isinstance(value, ast.Compare) or (
            isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
        ):
            return self._condition(value, "returned")
        found: ast.expr = self.visit(value)
        return found

    def visit_match_case(self, node: ast.match_case) -> ast.match_case:
        """Take out each case."""
        place, guard = self._next_place(), node.guard
        on = self._mutant(node.pattern, "case", ast.unparse(node.pattern), "no case", place, TRUE)
        seen = self._saw(place, self.visit(guard) if guard else ast.Constant(True))
        node.guard = ast.IfExp(on, ast.Constant(False), seen)
        node.body = [self.visit(each) for each in node.body]
        return node

    def _condition(self, test: ast.expr, kind: str, *, always_only: bool = False) -> ast.expr:
        text, place = ast.unparse(test), self._next_place()
        seen = (TRUE, FALSE) if _acts(test) else ()
        always = self._mutant(test, kind, text, "True", place, FALSE, *seen)
        never = None if always_only else self._mutant(test, kind, text, "False", place, TRUE, *seen)
        if isinstance(test, ast.BoolOp):
            inner = self._operands(test, truth_only=True)
        else:
            inner = self.visit(test)
        rest = self._saw(place, inner)
        if never is not None:
            rest = ast.IfExp(never, ast.Constant(False), rest)
        return ast.IfExp(always, ast.Constant(True), rest)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """Take out each operand of `and` and `or`."""
        return self._operands(node, truth_only=False)

    def _operands(self, node: ast.BoolOp, *, truth_only: bool) -> ast.expr:
        text, original = ast.unparse(node), [copy.deepcopy(each) for each in node.values]
        notices = FALSE if isinstance(node.op, ast.And) else TRUE
        tests, values = [], []
        for n, value in enumerate(node.values):
            place, looked_at = self._next_place(), truth_only or n < len(node.values) - 1
            dropped = _boolean(node.op, original[:n] + original[n + 1 :])
            tests.append(
                self._mutant(
                    value,
                    "operand",
                    text,
                    f"without {ast.unparse(value)}",
                    place,
                    *(_values(value, notices) if looked_at else (ANY,)),
                )
            )
            values.append((place, looked_at, dropped))
        seen = [
            self._saw(place, self.visit(value), truth=looked_at)
            for (place, looked_at, _), value in zip(values, node.values, strict=True)
        ]
        return _chosen(tests, [dropped for _, _, dropped in values], _boolean(node.op, seen))

    # Filters of queries

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Take out each argument of a query, and the built-in filter."""
        match node.func:
            case ast.Attribute(attr=name) if name in QUERIES or _is_get(node):
                return self._query(node, name)
            case ast.Name(id="Q") if len(node.keywords) > 1:
                return self._query(node, "Q")
            case ast.Name(id="filter") if len(node.args) == 2:
                everything = ast.Call(ast.Name("iter", ast.Load()), [node.args[1]], [])
                return self._dropped(node, [("all of it", copy.deepcopy(everything))])
        self.generic_visit(node)
        return node

    def _query(self, node: ast.Call, name: str) -> ast.expr:
        ways: list[tuple[str, ast.expr]] = []
        for n, argument in enumerate(node.args):
            if not isinstance(argument, ast.Starred):
                rest = replace_call(node, args=node.args[:n] + node.args[n + 1 :])
                ways.append((f"without {ast.unparse(argument)}", rest))
        for n, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                rest = replace_call(node, keywords=node.keywords[:n] + node.keywords[n + 1 :])
                ways.append((f"without {ast.unparse(keyword)}", rest))
        if name == "exclude":
            ways = [("no exclude", replace_call(node, attr="all", args=[], keywords=[]))]
        return self._dropped(node, ways)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Take out each side of `Q(…) | Q(…)`."""
        if isinstance(node.op, ast.BitOr | ast.BitAnd) and (_is_q(node.left) or _is_q(node.right)):
            ways = [
                (f"without {ast.unparse(node.left)}", copy.deepcopy(node.right)),
                (f"without {ast.unparse(node.right)}", copy.deepcopy(node.left)),
            ]
            return self._dropped(node, ways)
        self.generic_visit(node)
        return node

    def _dropped(self, node: ast.expr, ways: Sequence[tuple[str, ast.expr]]) -> ast.expr:
        text, place = ast.unparse(node), self._next_place()
        tests = [self._mutant(node, "filter", text, change, place, ANY) for change, _ in ways]
        self.generic_visit(node)
        seen = self._saw(place, node, truth=False)
        return _chosen(tests, [way for _, way in ways], seen)

    def _saw(self, place: int, value: ast.expr, *, truth: bool = True) -> ast.expr:
        name = "saw" if truth else "met"
        call = ast.Attribute(ast.Name(PROBE, ast.Load()), name, ast.Load())
        return ast.Call(call, [ast.Constant(place), value], [])


def _acts(test: ast.expr) -> bool:
    """Whether to evaluate it may do something, so that its absence matters whatever its truth."""
    return any(isinstance(node, ast.Call | ast.NamedExpr | ast.Await) for node in ast.walk(test))


def _values(operand: ast.expr, notices: str) -> tuple[str, ...]:
    return (notices, TRUE, FALSE) if _acts(operand) else (notices,)


def _boolean(op: ast.boolop, values: list[ast.expr]) -> ast.expr:
    return values[0] if len(values) == 1 else ast.BoolOp(op, values)


def _chosen(
    tests: Sequence[ast.expr], changes: Sequence[ast.expr], otherwise: ast.expr
) -> ast.expr:
    for test, change in zip(reversed(tests), reversed(changes), strict=True):
        otherwise = ast.IfExp(test, change, otherwise)
    return otherwise


def _is_get(node: ast.Call) -> bool:
    """Whether this is `.get(a=…, b=…)` of a query: a dict's `get` takes no keywords."""
    called_get = isinstance(node.func, ast.Attribute) and node.func.attr == "get"
    return called_get and not node.args and len(node.keywords) > 1


def _is_q(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="Q")):
            return True
        case ast.BinOp(left=left, right=right):
            return _is_q(left) or _is_q(right)
        case ast.UnaryOp(operand=operand):
            return _is_q(operand)
    return False


def replace_call(
    node: ast.Call,
    *,
    attr: str | None = None,
    args: list[ast.expr] | None = None,
    keywords: list[ast.keyword] | None = None,
) -> ast.Call:
    """A copy of a call with other arguments."""
    made = copy.deepcopy(node)
    if args is not None:
        made.args = copy.deepcopy(args)
    if keywords is not None:
        made.keywords = copy.deepcopy(keywords)
    if attr is not None and isinstance(made.func, ast.Attribute):
        made.func.attr = attr
    return made


_CONVERSIONS: Final = {ord("r"): "repr", ord("s"): "str", ord("a"): "ascii"}


def _joined(node: ast.JoinedStr) -> ast.expr:
    """The f-string as a call of `join`."""
    parts: list[ast.expr] = []
    name: Callable[[str], ast.Name] = lambda each: ast.Name(each, ast.Load())  # noqa: E731
    for value in node.values:
        if not isinstance(value, ast.FormattedValue):
            parts.append(value)
            continue
        shown = value.value
        if value.conversion in _CONVERSIONS:
            shown = ast.Call(name(_CONVERSIONS[value.conversion]), [shown], [])
        how = [] if value.format_spec is None else [value.format_spec]
        parts.append(ast.Call(name("format"), [shown, *how], []))
    join = ast.Attribute(ast.Constant(""), "join", ast.Load())
    return ast.Call(join, [ast.Tuple(parts, ast.Load())], [])
