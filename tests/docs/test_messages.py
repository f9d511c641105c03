"""The page of messages lists what the code says, and the tables quote what is listed."""

import ast
import re
import zipfile

import pytest
from error_messages import error_classes, in_validator, messages, parts
from film_messages import LISTS, errors_of_films, notices, reasons_to_abstain, warnings
from message_advice import ADVICE
from pages import ROOT
from source_text import GAP, MAX_CHOICES, Module, Reader, called, modules

from pneumoscope.config import load_recipe
from pneumoscope.data.archive import unpack
from pneumoscope.data.label_map import read_label_map, scan_mapped
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import scan_folder
from pneumoscope.errors import PneumoscopeError
from pneumoscope.evaluation.predictions import read_predictions

DOCS = ROOT / "docs"
NAMES = [kind.__name__ for kind in error_classes()]
PRIVATE = {"_FilmError": "EvaluationError", "_InterruptedError": "FetchError"}
"""Errors inside a module, with those that carry their words on."""


def pattern(text: str) -> re.Pattern[str]:
    """What a listed or quoted text matches: its gaps stand for anything, or nothing."""
    return re.compile(".*?".join(map(re.escape, text.split(GAP))), re.S)


def is_listed(name: str, said: str) -> bool:
    return any(pattern(message).fullmatch(said) for message in messages()[name])


def section(page: str, heading: str) -> str:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]


def sites() -> list[tuple[str, Module, ast.Call]]:
    """Every place where an error is made, with the class under which it must be listed."""
    found = []
    for module in modules():
        for call in (n for n in ast.walk(module.tree) if isinstance(n, ast.Call) and n.args):
            name = PRIVATE.get(called(call), called(call))
            if name == "ValueError" and in_validator(module, call):
                name = "ConfigError"
            if name in NAMES:
                found.append((name, module, call))
    return found


def words_in(node: ast.AST) -> set[str]:
    """The literal words of an expression, read without the reader of the page."""
    methods = [n for n in ast.walk(node) if isinstance(n, ast.Call) and hasattr(n.func, "attr")]
    unsaid = {
        id(n.func.value) if n.func.attr == "join" else id(n.args[0])
        for n in methods
        if n.func.attr in ("join", "removeprefix", "replace")
    }
    texts = [
        " ".join(n.value.split())
        for n in ast.walk(node)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in unsaid
    ]
    return {text for text in texts if " " in text and re.search("[A-Za-z]", text)}


class TestErrors:
    def test_there_are_many_places(self):
        assert len(sites()) > 250
        assert {name for name, _, _ in sites()} == set(NAMES)

    def test_every_place_is_listed_with_all_its_words(self):
        missing = []
        for name, module, call in sites():
            listed = "\n".join([*messages()[name], *parts()[name]])
            words = {w for argument in call.args for w in words_in(argument)}
            missing += [(module.name, call.lineno, w) for w in words if w not in listed]
        assert missing == []

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("NonFiniteLossError", f"the validation score after step {GAP} "),
            ("RadiographError", f"samples of an unusual kind (Pillow mode {GAP}), "),
        ],
    )
    def test_words_that_come_from_another_module_are_listed(self, name, words):
        assert any(words in message for message in messages()[name])

    def test_places_without_words_of_their_own_pass_on_another_message(self):
        wordless = {
            (module.name, " ".join(ast.unparse(call.args[-1]).split()))
            for _, module, call in sites()
            if not any(words_in(argument) for argument in call.args)
            and not any(c.isalpha() for text in Reader(module).texts(call.args[-1]) for c in text)
        }
        assert wordless == {
            ("cli.explain", "str(error)"),
            ("cli.screen", "str(error)"),
            # values: provoked below
            ("config.loading", "f'{origin}: {where}{found}: {message}{more}'"),
            ("data.radiograph", "f'{name}: {error}'"),
            ("evaluation.shift_table", "f'{path}: {error}'"),
            ("screening.screener", "str(error).replace('<bytes>', str(source), 1)"),
            ("screening.zips", "f'{one_line(self.name)}: {self.reason}'"),  # with single films
        }

    def test_each_kind_says_what_to_do(self):
        assert list(ADVICE) == NAMES
        for name, advice in ADVICE.items():
            assert advice in section("reference/messages.md", name)

    def test_the_page_has_them_all(self):
        for name in NAMES:
            text = section("reference/messages.md", name)
            assert len(re.findall(r"^- ``", text, re.M)) == len(messages()[name] + parts()[name])


class TestWhatUsersMeet:
    """Errors that are provoked, and then looked for in the list."""

    @pytest.mark.parametrize(
        "override",
        [
            "training.lr=20",
            "training.lr=fast",
            "training.epochs=2.5",
            "training.class_weights=1",
            "training.device=tpu",
            "training.balanced_sampler=true",
            "training.epochs=0",
            "training.learning_rate=1",
            "model.gelu=erf",
            "model=3",
            "name=a/b",
            "training",
            "name.x=1",
        ],
    )
    def test_recipes(self, override):
        self.check([override])

    @pytest.mark.parametrize("mixing", ["mixup_alpha", "cutmix_alpha"])
    def test_recipes_that_mix_films_of_two_causes(self, mixing):
        self.check(["training.cause_weight=0.5", f"augmentation.{mixing}=0.2"])

    def check(self, overrides):
        with pytest.raises(PneumoscopeError) as caught:
            load_recipe("cnn", overrides)
        assert is_listed(type(caught.value).__name__, str(caught.value)), caught.value

    @pytest.mark.parametrize(
        "text",
        [
            'NORMAL = ["a"]\nPNEUMONIA = ["a"]',
            'NORMAL = ["a"]\nPNEUMONIA = []',
            'NORMAL = "a"\nPNEUMONIA = ["b"]',
            'NORMAL = ["a"]',
            'NORMAL = ["a"]\nPNEUMONIA = ["b"]\nother = 1',
            'NORMAL = ["a"]\nPNEUMONIA = ["b"]\npatient = "x"',
            'NORMAL = ["a"]\nPNEUMONIA = ["b"]\npatient = "("',
            "NORMAL = ",
        ],
    )
    def test_label_maps(self, text, tmp_path):
        (tmp_path / "map.toml").write_text(text)
        with pytest.raises(PneumoscopeError) as caught:
            scan_mapped(tmp_path, read_label_map(tmp_path / "map.toml"))
        assert is_listed(type(caught.value).__name__, str(caught.value)), caught.value

    @pytest.mark.parametrize(
        "files",
        [
            [],
            ["train/NORMAL/a.jpeg"],
            ["NORMAL/a.jpeg", "PNEUMONIA/a.jpeg"],
            ["train/NORMAL/a.txt", "train/PNEUMONIA/a.jpeg", "test/x"],
            ["train/NORMAL/a.jpeg", "train/COVID/a.jpeg", "test/x"],
            ["train/NORMAL/a.jpeg", "test/x", "train/PNEUMONIA/.hidden"],
            ["train/x", "TRAIN/x", "test/x"],
        ],
        ids=str,
    )
    def test_folders(self, files, tmp_path):
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        with pytest.raises(PneumoscopeError) as caught:
            scan_folder(tmp_path)
        assert is_listed(type(caught.value).__name__, str(caught.value)), caught.value

    @pytest.mark.parametrize("member", ["../a", "/a", "a:b"])
    def test_archives(self, member, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(member, b"")
        with pytest.raises(PneumoscopeError) as caught:
            unpack(tmp_path / "a.zip", tmp_path / "out")
        assert is_listed("FetchError", str(caught.value)), caught.value

    def test_zip_bombs(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(20 * 2**20))
        with pytest.raises(PneumoscopeError, match="zip bomb") as caught:
            unpack(tmp_path / "a.zip", tmp_path / "out")
        assert is_listed("FetchError", str(caught.value)), caught.value

    @pytest.mark.parametrize("content", [b"", b"<html>", b"%PDF-1.7", b"\xff\xd8\xff", b"II*\0"])
    def test_films(self, content):
        with pytest.raises(PneumoscopeError) as caught:
            read_radiograph(content)
        assert is_listed("RadiographError", str(caught.value).removeprefix("<bytes>: "))

    def test_a_line_of_a_table_of_scores(self, tmp_path):
        header = "path,patient_id,split,y_true,logit_normal,logit_pneumonia,p_pneumonia"
        (tmp_path / "predictions.csv").write_text(f"{header}\na,a,nowhere,1,0,0,0.5\n")
        with pytest.raises(PneumoscopeError) as caught:
            read_predictions(tmp_path / "predictions.csv")
        assert is_listed("EvaluationError", str(caught.value)), caught.value


class TestFilms:
    @pytest.mark.parametrize("heading", LISTS)
    def test_the_page_has_each_list(self, heading):
        advice, texts = LISTS[heading]
        text = section("reference/messages.md", heading)
        assert advice in text
        assert [f"- ``{one}``" for one in texts()] == re.findall(r"^- .*$", text, re.M)

    def test_every_phrase_of_the_gate_is_listed(self):
        (gate,) = [module for module in modules() if module.name == "screening.gate"]
        phrases = {
            node.value
            for node in ast.walk(gate.tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.match(r"(is|has|seems|does) (?!about)\w+", node.value)
        }
        assert len(phrases) >= 12
        listed = "\n".join(reasons_to_abstain())
        assert [phrase for phrase in phrases if phrase not in listed] == []

    def test_every_note_of_a_reader_is_listed(self):
        names = {"data.radiograph", "data.dicom_claims", "data.dicom_display", "screening.screener"}
        noted = set()
        for module in modules():
            for call in module.calls("append") if module.name in names else ():
                noted |= words_in(call)
        assert len(noted) >= 8
        listed = "\n".join([*warnings(), *reasons_to_abstain()])
        assert [text for text in noted if text not in listed] == []

    def test_the_others_are_there(self):
        assert any("is it trained?" in text for text in errors_of_films())
        for words in ("drawing phantoms", "is left out", "below chance", "skipped: "):
            assert any(words in text for text in notices()), words


class TestQuotes:
    TABLES = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")

    def test_every_kind_has_a_section(self):
        headings = re.findall(r"^## (\w+Error)$", self.TABLES, re.M)
        assert headings == NAMES
        messages_page = (DOCS / "reference" / "messages.md").read_text(encoding="utf-8")
        assert re.findall(r"^## (\w+Error)$", messages_page, re.M) == NAMES

    @pytest.mark.parametrize("name", NAMES)
    def test_every_quote_begins_a_message_of_its_kind(self, name):
        rows = re.findall(r"^\| `([^`]+)` \|", section("troubleshooting.md", name), re.M)
        for text in rows:
            assert any(pattern(text).match(message) for message in messages()[name]), text
        long_kinds = [kind for kind in NAMES if len(messages()[kind]) >= 4]
        assert rows or name not in long_kinds

    def test_there_are_enough_of_them(self):
        assert len(re.findall(r"^\| `[^`]+` \| [^|]+ \| [^|]+ \|$", self.TABLES, re.M)) >= 65

    def test_what_a_download_says(self):
        text = section("locked-down-networks.md", "When a download fails")
        quotes = [
            re.sub(r"\d+(?= s\b)|\.\.\.", GAP, quote.strip())
            for cell in re.findall(r"^\| (.+?) \|", text, re.M)[1:]
            for quote in cell.split(", ")
            if set(cell) - set("-|")
        ]
        assert len(quotes) >= 10
        listed = "\n".join([*messages()["FetchError"], *messages()["LayoutError"]])
        listed = listed.replace("HTTP … …;", "HTTP 403 …;")
        for quote in quotes:
            assert pattern(quote).search(listed), quote


class TestTheReader:
    """The reader of texts on small sources: what hid messages before is followed."""

    @staticmethod
    def texts(source: str) -> list[str]:
        tree = ast.parse(source)
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        module = Module(modules()[0].path, tree, parents)
        (call,) = module.calls("SayError")
        return Reader(module).texts(call.args[0])

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("SayError(f'{a}{b} is {c!r}; expected ' 'one')", ["… is …; expected one"]),
            ("SayError('one word'.encode(errors='x').decode())", ["one word"]),
            ("T = {1: 'go left', 2: 'go right'}\nSayError(T.get(i, 'go on'))", 3),
            ("T = {1: 'go left', 2: 'go right'}\nSayError(T[2])", ["go right"]),
            ("def f(why):\n    return SayError(f'{x}: {why}')\nf('no film')", ["…: no film"]),
            ("def f():\n    if x: return 'no film'\n    return 'no map'\nSayError(f())", 2),
            ("def f():\n    a = 'no film'\n    SayError(a + '; go')", ["no film; go"]),
            ("def f(x):\n    a = ' more' if x else ''\n    SayError(f'no film{a}')", ["no film…"]),
            ("SayError(unknown)", [GAP]),
        ],
    )
    def test_it_follows(self, source, expected):
        found = self.texts(source)
        assert len(found) == expected if isinstance(expected, int) else found == expected

    def test_too_many_texts_become_parts(self):
        tree = ast.parse("\n".join(f"f('no {i}', 'do {i}')" for i in range(MAX_CHOICES)))
        tree.body += ast.parse("def f(a, b):\n    SayError(f'{a}; {b}')").body
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        reader = Reader(Module(modules()[0].path, tree, parents))
        (call,) = reader.module.calls("SayError")
        assert reader.texts(call.args[0]) == [f"{GAP}; {GAP}"]
        assert len(reader.parts) == 2 * MAX_CHOICES
