from pathlib import Path

import pytest

from annotate.discover.class_list import class_list_from_yaml, class_list_to_yaml, load_prompts
from annotate.errors import PromptError


def write(tmp_path: Path, text: str, name: str = "classes.txt") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_text_file_with_comments_and_synonyms(tmp_path):
    source = write(
        tmp_path,
        "# what we label\n\ncar: red car, Auto, auto\nno. 5 sign\nc# book  # a comment\n größe\n",
    )
    classes = load_prompts(source)
    assert classes.names == ["car", "no. 5 sign", "c# book", "größe"]
    assert classes.classes[0].phrases == ("red car", "Auto")
    assert classes.classes[1].phrases == ("no. 5 sign",)


def test_inline_list():
    classes = load_prompts(["red car", "person: man, woman"])
    assert classes.names == ["red car", "person"]
    assert classes.classes[1].phrases == ("man", "woman")


def test_yaml_file_and_round_trip(tmp_path):
    source = write(
        tmp_path,
        "classes:\n- name: cat\n  phrases: [tabby, kitten]\n  negatives: [dog]\n  threshold: 0.4\n"
        "  min_area: 10\n  max_area: 1000\n  colour: '#ff0080'\n- bird\n",
        "classes.yaml",
    )
    classes = load_prompts(source)
    cat = classes.classes[0]
    assert (cat.phrases, cat.negatives, cat.threshold) == (("tabby", "kitten"), ("dog",), 0.4)
    assert (cat.min_area, cat.max_area, cat.colour) == (10, 1000, "#ff0080")
    again = load_prompts(write(tmp_path, class_list_to_yaml(classes), "again.yaml"))
    assert again == classes


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("cat\n\n: dog\n", 3, "class name is empty"),
        ("cat\nCAT\n", 2, "already named at"),
        ("cat: tabby,\n", 1, "an empty text in phrases"),
        ("a: x\nb: X\n", 2, "already finds 'a'"),
        ("cat:\n", 1, "an empty text in phrases"),
    ],
)
def test_errors_name_file_and_line(tmp_path, text, line, says):
    source = write(tmp_path, text)
    with pytest.raises(PromptError, match=says) as caught:
        load_prompts(source)
    assert str(caught.value).startswith(f"{source}:{line}: ")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("- name: cat\n- name: dog\n  treshold: 1\n", 2, "unknown key 'treshold'"),
        ("- name: cat\n- phrases: [x]\n", 2, "class name is empty"),
        ("- name: cat\n  threshold: 2\n", 1, "expected a number 0..1"),
        ("- name: cat\n  colour: red\n", 1, "expected '#rrggbb'"),
        ("- a\n- [b\n", 3, "not valid yaml"),
        ("- a\n- 7: 8\n", 2, "unknown key '7'"),
    ],
)
def test_yaml_errors_name_file_and_line(tmp_path, text, line, says):
    source = write(tmp_path, text, "classes.yaml")
    with pytest.raises(PromptError, match=says) as caught:
        load_prompts(source)
    assert str(caught.value).startswith(f"{source}:{line}: ")


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_no_class_at_all(tmp_path, text):
    with pytest.raises(PromptError, match="no class in it"):
        load_prompts(write(tmp_path, text))


def test_no_prompts_given():
    with pytest.raises(PromptError, match="add prompts="):
        load_prompts(None)


def test_missing_file_says_what_is_expected():
    with pytest.raises(PromptError, match=r"prompts=nowhere\.txt: cannot read it"):
        load_prompts("nowhere.txt")


def test_not_utf8(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(PromptError, match="not UTF-8"):
        load_prompts(str(path))


def test_control_characters_cannot_break_a_format(tmp_path):
    assert load_prompts(["a\x00b\tc"]).names == ["a b c"]


@pytest.mark.parametrize(
    "name",
    ["\U0001f469\u200d\U0001f680 suit", "\u0646\u06cc\u0645\u200c\u062f\u0627\u06cc\u0631\u0647"],
)
def test_joiners_within_emoji_and_persian_words_are_kept(tmp_path, name):
    classes = load_prompts([name])
    assert classes.names == [name]
    assert load_prompts(write(tmp_path, class_list_to_yaml(classes), "classes.yaml")) == classes


def test_invisible_characters_part_no_word_and_make_no_second_class():
    assert load_prompts(["tr\u00aduck\u200f"]).names == ["truck"]
    with pytest.raises(PromptError, match="already named"):
        load_prompts(["car", "\u200dcar \u200c"])


def test_characters_that_json_escapes_in_two_halves_are_one(tmp_path):
    text = '- "\\ud83d\\ude00 face"\n- {"name": "x", "phrases": ["\\ud83d\\ude80"]}\n'
    classes = load_prompts(write(tmp_path, text, "classes.yaml")).classes
    assert [(c.name, c.phrases) for c in classes] == [("😀 face", ("😀 face",)), ("x", ("🚀",))]


def test_half_a_character_is_named(tmp_path):
    source = write(tmp_path, '- cat\n- "\\ud83d"\n', "classes.yaml")
    with pytest.raises(PromptError, match="half of an escaped character") as caught:
        load_prompts(source)
    assert str(caught.value).startswith(f"{source}:2: ")
    assert str(caught.value).isascii()


def test_yaml_python_tags_are_refused(tmp_path):
    source = write(tmp_path, "- !!python/object/apply:os.system ['true']\n", "classes.yaml")
    with pytest.raises(PromptError):
        load_prompts(source)


def test_class_list_from_data_needs_a_list():
    with pytest.raises(PromptError, match="expected a list"):
        class_list_from_yaml({"names": 3}, "here")
