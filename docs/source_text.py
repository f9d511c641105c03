"""The texts that an expression of the package's source can have, as far as the source tells."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path

import pneumoscope

PACKAGE = Path(pneumoscope.__file__).parent
GAP = "…"
MAX_CHOICES = 12
"""Most texts that are written out for one expression; of more the differing parts are listed."""

_MAX_DEPTH = 6
_MIN_WORDS = 2
_NOTHING = "\0"
_KEEPS_TEXT = {"encode", "decode", "strip", "removeprefix", "removesuffix", "partition"}
_PRIVATE_ERRORS = ("_InterruptedError", "_FilmError", "ValueError")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Module:
    """One source file: its functions, constants, imports, and what lies around each node."""

    path: Path
    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its dotted name below the package, as ``data.scan``."""
        return ".".join(self.path.relative_to(PACKAGE).with_suffix("").parts)

    def functions(self, name: str) -> list[Function]:
        """Returns the functions and methods of a name."""
        return [n for n in ast.walk(self.tree) if isinstance(n, Function) and n.name == name]

    def calls(self, name: str) -> list[ast.Call]:
        """Returns the calls of a function or method, by its last name."""
        return [n for n in ast.walk(self.tree) if isinstance(n, ast.Call) and called(n) == name]

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yields what encloses a node, from inside to outside."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent


@cache
def modules() -> tuple[Module, ...]:
    """Returns the package's modules, by path."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = Module(path, ast.parse(path.read_text(encoding="utf-8")))
        for node in ast.walk(module.tree):
            module.parents |= dict.fromkeys(ast.iter_child_nodes(node), node)
        found.append(module)
    return tuple(found)


def called(node: ast.Call) -> str:
    """Returns the last name of what is called."""
    return getattr(node.func, "id", None) or getattr(node.func, "attr", "")


def has_words(text: str) -> bool:
    """Returns whether a text says anything besides what is only known when it happens."""
    return any(letter.isalpha() for letter in text)


@dataclass
class Reader:
    """Reads the texts of the expressions of one module.

    Attributes:
        parts: of expressions with too many texts, the parts that differ.
    """

    module: Module
    parts: set[str] = field(default_factory=set)

    def texts(self, node: ast.expr | None, depth: int = 0) -> list[str]:
        """Returns every text that an expression can have; a gap for what is not known."""
        if depth > _MAX_DEPTH:
            return [GAP]
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.Constant(value=None):
                return [_NOTHING]
            case ast.Starred(value=value):
                return self.texts(value, depth)
            case ast.JoinedStr(values=values):
                return self._joined([self.texts(value, depth) for value in values])
            case ast.FormattedValue(value=value):
                return self.texts(value, depth + 1)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([self.texts(left, depth), self.texts(right, depth)])
            case ast.IfExp(body=body, orelse=other):
                return self._either([*self.texts(body, depth + 1), *self.texts(other, depth + 1)])
            case ast.BoolOp(op=ast.Or(), values=values):
                return self._either(t for value in values for t in self.texts(value, depth + 1))
            case ast.Name(id=name):
                return self._either(self._named(name, node, depth + 1))
            case ast.Attribute(value=ast.Name(id=name), attr="message"):
                return self._either(self._named(name, node, depth + 1))
            case ast.Attribute(attr=name):
                return self._either(self._held(name, depth + 1))
            case ast.Subscript():
                return self._either(self._inside(node, depth + 1))
            case ast.Call():
                return self._either(self._answered(node, depth + 1))
            case _:
                return [GAP]

    def _either(self, texts: Iterable[str]) -> list[str]:
        """Returns the choices once each; what may also be nothing is a gap, its words a part."""
        found = [text for text in dict.fromkeys(texts) if text != _NOTHING] or [GAP]
        if "" in found:
            self.parts |= {text for text in found if has_words(text)}
            return [GAP]
        if GAP in found:  # a word or two beside it are examples of what fills it
            found = [text for text in found if text == GAP or len(text.split()) >= _MIN_WORDS]
        return found

    def _joined(self, parts: list[list[str]]) -> list[str]:
        parts = [[GAP if text == _NOTHING else text for text in part] for part in parts]
        num_choices = 1
        for part in parts:
            num_choices *= len(part)
        if num_choices > MAX_CHOICES:
            self.parts |= {text for part in parts if len(part) > 1 for text in part if text != GAP}
            parts = [part if len(part) == 1 else [GAP] for part in parts]
        joined = ("".join(choice) for choice in product(*parts))
        return list(dict.fromkeys(_one_gap(text) for text in joined))

    def _named(self, name: str, node: ast.AST, depth: int) -> Iterator[str]:
        """Yields what a name stands for where it is used."""
        for outer in self.module.around(node):
            if isinstance(outer, ast.ExceptHandler) and outer.name == name:
                yield from self._caught(outer, depth)
                return
            if not isinstance(outer, Function):
                continue
            if values := list(_assigned(outer, name)):
                for value in values:
                    yield from self.texts(value, depth)
                return
            arguments = [a.arg for a in (*outer.args.args, *outer.args.kwonlyargs)]
            if name in arguments:
                yield from self._passed(outer.name, name, arguments, depth)
                return
        yield from self._constant(name, depth)

    def _caught(self, handler: ast.ExceptHandler, depth: int) -> Iterator[str]:
        """Yields the texts of errors of our own that a handler words anew."""
        caught = [n.id for n in ast.walk(handler.type or handler) if isinstance(n, ast.Name)]
        for name in _PRIVATE_ERRORS:
            if name not in caught:
                continue
            guarded = self.module.parents[handler] if name == "ValueError" else self.module.tree
            for call in (n for n in ast.walk(guarded) if isinstance(n, ast.Call)):
                if called(call) == name:
                    yield from self.texts(call.args[-1], depth)
        yield GAP

    def _passed(self, name: str, argument: str, arguments: list[str], depth: int) -> Iterator[str]:
        """Yields what calls of a function give for an argument.

        Of calls where it is imported only what is written there: what a name stands for elsewhere
        may depend on more than can be followed.
        """
        position = [a for a in arguments if a != "self"].index(argument)
        importing = [one for one in modules() if self.module in _imported_from(one, name)]
        for reader in (self, *(Reader(one, self.parts) for one in importing)):
            for call in reader.module.calls(name):
                if not isinstance(call.func, ast.Name) and ast.unparse(call.func) != f"self.{name}":
                    continue
                given = [k.value for k in call.keywords if k.arg == argument]
                given += call.args[position : position + 1]
                for value in given:
                    is_written = isinstance(value, ast.Constant | ast.JoinedStr)
                    yield from reader.texts(value, depth) if reader is self or is_written else [GAP]

    def _constant(self, name: str, depth: int) -> Iterator[str]:
        """Yields the texts of a constant of this module or of the one it is imported from."""
        for module in (self.module, *_imported_from(self.module, name)):
            for statement in module.tree.body:
                if isinstance(statement, ast.Assign) and _targets(statement, name):
                    yield from Reader(module, self.parts).texts(statement.value, depth)
                    return
        yield GAP

    def _inside(self, node: ast.Subscript, depth: int) -> Iterator[str]:
        """Yields the texts in a constant table, or the one that a constant index names."""
        base: ast.expr = node
        while isinstance(base, ast.Subscript):
            base = base.value
        table = self._table(base.id) if isinstance(base, ast.Name) else None
        if table is None:
            yield GAP
            return
        index = node.slice.value if isinstance(node.slice, ast.Constant) else None
        items = list(enumerate(getattr(table, "elts", ())))
        if isinstance(table, ast.Dict):
            items = [(k.value, v) for k, v in zip(table.keys, table.values, strict=True) if k]
        named = [value for key, value in items if key == index and node.value is base]
        for value in named or [value for _, value in items]:
            yield from (text for leaf in _leaves(value) for text in self.texts(leaf, depth))

    def _table(self, name: str) -> ast.expr | None:
        """Returns the value of a constant of the module."""
        for statement in self.module.tree.body:
            if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == name:
                return statement.value
            if isinstance(statement, ast.Assign) and _targets(statement, name):
                return statement.value
        return None

    def _held(self, name: str, depth: int) -> Iterator[str]:
        """Yields what the module puts into a field of text of one of its own classes."""
        for kind in (n for n in self.module.tree.body if isinstance(n, ast.ClassDef)):
            fields = [n for n in kind.body if isinstance(n, ast.AnnAssign)]
            names = [ast.unparse(one.target) for one in fields]
            if name in names and ast.unparse(fields[names.index(name)].annotation) == "str | None":
                for call in self.module.calls(kind.name):
                    for value in call.args[names.index(name) : names.index(name) + 1]:
                        yield from self.texts(value, depth)
        yield GAP

    def _answered(self, node: ast.Call, depth: int) -> Iterator[str]:
        """Yields what a call gives: the text it is called on, or what our function returns."""
        match node.func:
            case ast.Attribute(attr="join", value=ast.Constant(value=str(between))) if isinstance(
                node.args[0], ast.List
            ):
                parts = [self.texts(item, depth) for item in node.args[0].elts]
                glued = [p for part in parts for p in ([between], part)][1:]
                yield from self._joined(glued)
            case ast.Attribute(attr="get", value=ast.Name(id=name)):
                table = self._table(name)
                for value in [*getattr(table, "values", ()), *node.args[1:]]:
                    yield from self.texts(value, depth)
                yield from () if table else (GAP,)
            case ast.Attribute(attr=attribute, value=value) if attribute in _KEEPS_TEXT:
                yield from self.texts(value, depth)
            case ast.Name(id="str") if node.args:
                yield from self.texts(node.args[0], depth)
            case ast.Name(id=name):
                for function in self.module.functions(name):
                    for value in returned(function):
                        yield from self.texts(value, depth)
                yield from () if self.module.functions(name) else (GAP,)
            case _:
                yield GAP


def returned(function: Function) -> Iterator[ast.expr]:
    """Yields what a function returns or yields, not what functions inside it do."""
    for node in ast.walk(function):
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            yield node.value


def _assigned(function: Function, name: str) -> Iterator[ast.expr]:
    """Yields the values that a function gives to one of its names."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                yield from (
                    value
                    for target, value in zip(names, values, strict=True)
                    if isinstance(target, ast.Name) and target.id == name
                )
            case ast.Assign(value=value) if _targets(node, name):
                yield value
            case ast.For(target=ast.Tuple(elts=names), iter=ast.Tuple(elts=rows)):
                for row in rows:
                    for target, value in zip(names, getattr(row, "elts", ()), strict=False):
                        if isinstance(target, ast.Name) and target.id == name:
                            yield value
            case ast.AnnAssign(target=ast.Name(id=target), value=value) if target == name and value:
                yield value
            case ast.NamedExpr(target=ast.Name(id=target), value=value) if target == name:
                yield value


def _targets(statement: ast.Assign, name: str) -> bool:
    return any(isinstance(t, ast.Name) and t.id == name for t in statement.targets)


def _imported_from(module: Module, name: str) -> list[Module]:
    sources = [
        (node.module or "").removeprefix("pneumoscope.")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}
    ]
    return [other for other in modules() if other.name in sources]


def _leaves(node: ast.expr) -> Iterator[ast.expr]:
    """Yields the texts in a table, however deep."""
    if isinstance(node, ast.Tuple | ast.List | ast.Dict):
        for child in getattr(node, "elts", ()) or getattr(node, "values", ()):
            yield from _leaves(child)
    elif not isinstance(node, ast.Lambda):
        yield node


def _one_gap(text: str) -> str:
    while GAP * 2 in text:
        text = text.replace(GAP * 2, GAP)
    return text
