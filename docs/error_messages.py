"""Every message that the package can end with, read from its source; for ``generate.py``."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from source_text import GAP, Function, Module, Reader, called, has_words, modules
from value_messages import value_messages

from pneumoscope import errors


@dataclass
class Texts:
    """The messages of one kind, and parts that stand in some of them in some cases."""

    messages: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)

    def add(self, reader: Reader, node: ast.expr) -> None:
        """Takes up what an expression can say; a text that is only a gap says nothing."""
        reader.parts.clear()
        self.messages |= {" ".join(t.split()) for t in reader.texts(node) if has_words(t)}
        self.parts |= {part.strip() for part in reader.parts}


def error_classes() -> list[type[errors.PneumoscopeError]]:
    """Returns the errors in the order in which their tree is drawn, the root left out."""

    def below(parent: type[errors.PneumoscopeError]) -> Iterator[type[errors.PneumoscopeError]]:
        for child in parent.__subclasses__():
            if child.__module__ == errors.__name__:
                yield child
                yield from below(child)

    return list(below(errors.PneumoscopeError))


def in_order(texts: set[str]) -> list[str]:
    """Returns texts by their first words."""
    return sorted(texts, key=lambda text: (text.strip(GAP + " :;,("), text))


@cache
def messages() -> dict[str, list[str]]:
    """Returns the messages by the name of their class, each once, in order.

    A part that is only known when it happens is a gap. A message that is only another error's
    text, or wholly made elsewhere, is left out.
    """
    return {name: in_order(found.messages) for name, found in _by_class().items()}


@cache
def parts() -> dict[str, list[str]]:
    """Returns by class what stands in some of its messages in some cases, in order."""
    return {name: in_order(found.parts) for name, found in _by_class().items()}


@cache
def _by_class() -> dict[str, Texts]:
    found = {kind.__name__: Texts() for kind in error_classes()}
    for module in modules():
        reader = Reader(module)
        for call in (n for n in ast.walk(module.tree) if isinstance(n, ast.Call)):
            if called(call) in found and call.args:
                found[called(call)].add(reader, call.args[0])
            elif called(call) == "ValueError" and in_validator(module, call):
                rule = Texts()
                rule.add(reader, call.args[0])
                found["ConfigError"].messages |= {f"{GAP}: {text}" for text in rule.messages}
    found["ConfigError"].messages |= value_messages()
    return found


def in_validator(module: Module, node: ast.AST) -> bool:
    """Returns whether a node is in a rule of a recipe or a label map."""
    return any(
        "validator" in ast.dump(decorator)
        for outer in module.around(node)
        if isinstance(outer, Function)
        for decorator in outer.decorator_list
    )
