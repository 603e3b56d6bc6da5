from pathlib import Path

import pytest
import yaml

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


def test_an_inline_mapping_keeps_what_it_says_of_each_name():
    classes = load_prompts(
        {
            "car": ["car", "red car, shiny"],
            "person": None,
            "dog": {"phrases": ["dog", "puppy"], "threshold": 0.4},
            "stop": "stop sign",
        }
    ).classes
    assert [(c.name, c.phrases) for c in classes] == [
        ("car", ("car", "red car, shiny")),
        ("person", ("person",)),
        ("dog", ("dog", "puppy")),
        ("stop", ("stop sign",)),
    ]
    assert classes[2].threshold == 0.4


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"car": {"phrase": ["car"]}}, r"prompts\['car'\]: unknown key 'phrase'.*phrases\?"),
        ({"car": {"name": "truck"}}, r"prompts\['car'\]: has a `name` inside; the name is 'car'"),
        ({"car": 5}, r"prompts\['car'\]: phrases=5; expected a list of texts"),
        ({"car": {"threshold": 2}}, r"prompts\['car'\]: threshold=2; expected a number 0..1"),
        ({"": None}, r"prompts\[''\]: class name is empty"),
        ({}, "prompts: no class in it"),
    ],
)
def test_errors_of_a_mapping_name_the_class(source, says):
    with pytest.raises(PromptError, match=says):
        load_prompts(source)


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
        ("traffic light\nlight: traffic_light\n", 2, "already finds 'traffic light'"),
        ("cat\n0: dog\n", 2, "numbers are given by order: write 'dog'"),
        ("cat\n'red car'\n", 2, "without quotes here; write red car"),
        ("cat. red car. person.\n", 1, "one class a line: 'cat', 'red car'"),
        ("cat\n" + "word " * 80 + "\n", 2, "one class a line"),
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
        ("- name: cat\n  treshold: 1\n", 1, "did you mean threshold"),
        ("- stop: stop sign, octagon\n", 1, "- name: stop"),
        ("- name: cat\n  phrases: [x]\n  phrases: [y]\n", 3, "'phrases' stands twice"),
        ("- cat\n- &b dog\n- *b\n", 2, "aliases"),
        ("- name: cat\n  phrases: {a: b}\n", 1, "expected a list of texts"),
        ("- name: cat\n  min_area: 9\n  max_area: 3\n", 1, "min_area=9 is above max_area=3"),
        ("- name: cat\n  threshold: .nan\n", 1, "expected a number 0..1"),
        ("- name: cat\n  threshold: yes\n", 1, "expected a number 0..1"),
    ],
)
def test_yaml_errors_name_file_and_line(tmp_path, text, line, says):
    source = write(tmp_path, text, "classes.yaml")
    with pytest.raises(PromptError, match=says) as caught:
        load_prompts(source)
    assert str(caught.value).startswith(f"{source}:{line}: ")


WRITTEN = ["on", "no", "off", "yes", "007", "3.10", "1_000", "12:30", "1e3", "0x10", "null", "~"]


def test_names_and_phrases_are_text_as_written(tmp_path):
    yaml_text = "".join(f"- name: {name}\n  phrases: [{name}, x {name}]\n" for name in WRITTEN)
    entries = "".join(f"- {name}\n" for name in WRITTEN)
    lines = "".join(f"{name}\n" for name in WRITTEN)
    for text, file in ((yaml_text, "c.yaml"), (entries, "d.yaml"), (lines, "e.txt")):
        classes = load_prompts(write(tmp_path, text, file))
        assert classes.names == WRITTEN
        assert [c.phrases[0] for c in classes.classes] == WRITTEN
        assert load_prompts(write(tmp_path, class_list_to_yaml(classes), "again.yaml")) == classes
        stored = yaml.safe_load(class_list_to_yaml(classes))
        assert class_list_from_yaml(stored, "classes.yaml") == classes


def test_a_time_of_day_has_a_colon_of_its_own():
    classes = load_prompts(["12:30", "clock: 12:30 sharp, 1:20", "bus 7:half past"]).classes
    assert [(c.name, c.phrases) for c in classes] == [
        ("12:30", ("12:30",)), ("clock", ("12:30 sharp", "1:20")), ("bus 7", ("half past",)),
    ]  # fmt: skip


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


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("person", r"prompts='\[person\]'"),
        ("red car,person", r"a list stands in brackets: prompts='\[red car,person\]'"),
        ("red car. person.", r"a list stands in brackets: prompts='\[red car,person\]'"),
    ],
)
def test_names_that_are_no_file_say_how_a_list_is_written(source, hint):
    with pytest.raises(PromptError, match=hint):
        load_prompts(source)


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


def test_shapes_parents_and_groups_are_read_and_kept(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(
        "- vehicle\n- {name: car, parent: vehicle, group: cars, min_aspect: 0.5, max_aspect: 4}\n"
    )
    classes = load_prompts(str(path))
    car = classes.classes[1]
    assert (car.parent, car.group, car.min_aspect, car.max_aspect) == ("vehicle", "cars", 0.5, 4.0)
    again = tmp_path / "again.yaml"
    again.write_text(class_list_to_yaml(classes))
    assert load_prompts(str(again)) == classes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
         "- {name: car, parent: vehicel}\n- vehicle\n",
         r"y:1: parent='vehicel' is no class of this list; did you mean"),
        ("- {name: a, parent: b}\n- {name: b, parent: a}\n", "y:1: a below b below a: no class is"),
        ("- {name: a, parent: a}\n", "y:1: a below a: no class is its own parent"),
        ("- {name: a, min_aspect: 3, max_aspect: 2}\n", "y:1: min_aspect=3 is above max_aspect=2"),
        ("- {name: a, min_aspect: wide}\n", "y:1: min_aspect='wide'; expected a number >= 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_of_parents_and_shapes_is_one_line(tmp_path, text, said):
    path = tmp_path / "y.yaml"
    path.write_text(text)
    with pytest.raises(PromptError, match=said.replace("y:1", r"y\.yaml:1")):
        load_prompts(str(path))
