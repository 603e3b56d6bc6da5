"""Names of items lie below their root, and are compared however they are spelled."""

import pytest

from annotate.data.item_paths import plain, refusal, shown


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../x.png", "leaves the dataset's folder"),
        ("a/../../x.png", "leaves the dataset's folder"),
        ("..\\x.png", "leaves the dataset's folder"),
        ("a\\..\\x.png", "leaves the dataset's folder"),
        ("..", "leaves the dataset's folder"),
        ("/etc/x.png", "absolute"),
        ("\\\\server\\x.png", "absolute"),
        ("C:\\x.png", "a drive"),
        ("c:/x.png", "a drive"),
        ("a\0.png", "a NUL"),
        ("", "names no file"),
        (".", "names no file"),
        ("a/" + "x" * 256, "no file can have a name"),
        ("é" * 128, "no file can have a name"),
        ("a/" * 3000 + "x", "no file can have a name"),
    ],
)
def test_what_is_no_item(name, reason):
    assert reason in refusal(name)


@pytest.mark.parametrize(
    "name",
    ["a.png", "./a.png", "a/b c/ü.png", "a..b.png", "...png", "a:b.png", "12:30.png", "x" * 255,
     "back\\slash.png", "new\nline.png", ".hidden/x.png", "a/" * 100 + "x", "no \udcff text.png"],
)  # fmt: skip
def test_what_is_an_item(name):
    assert refusal(name) == ""


def test_spellings_of_one_path():
    assert {plain(n) for n in ("a/b.png", "./a/b.png", "a\\b.png", "a//b.png", ".\\a/./b.png")} == {
        "a/b.png"
    }
    assert plain("cafe\u0301") == plain("caf\u00e9")
    assert plain("/a") == plain("\\a") == "/a"


def test_a_name_in_a_message_is_one_short_line():
    assert shown("a\x1b[2J\nb") == "'a\\x1b[2J\\nb'"
    assert len(shown("x" * 9000)) < 150
