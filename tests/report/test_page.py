"""The page in a browser: it sorts, moves its threshold, and fits, in light, dark and on a phone."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from annotate.config.compose import compose
from annotate.data.types import ClassList, ClassSpec
from annotate.evaluate import __main__ as evaluate_command
from annotate.evaluate import uncertainty
from annotate.record.run_folder import Run
from annotate.report import facts, sweep
from tests.app_page import needs_chromium
from tests.evaluate.squares import square, still
from tests.report.pages import made, page_of, shown

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def evaluated(demo_run, demo) -> Path:
    """The report of the small demo run, with scores."""
    assert evaluate_command._evaluate([f"run={demo_run}", f"truth={demo / 'truth.json'}"]) == 0
    page_of(demo_run)
    return demo_run / "report.html"


def column(page, table: int, number: int) -> list[str]:
    """The texts of a column of one of the tables that sort."""
    rows = page.locator("table.sortable").nth(table).locator("tbody tr")
    return rows.locator(f":scope > :nth-child({number})").all_inner_texts()


def place_of(page, label: str) -> int:
    """Which of the tables that sort it is."""
    return page.evaluate(
        "label => [...document.querySelectorAll('table.sortable')]"
        ".findIndex(t => t.parentElement.ariaLabel === label)",
        label,
    )


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_in_both_colours(evaluated, width, scheme):
    with shown(evaluated, width=width, color_scheme=scheme) as page:
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 26)"}[scheme]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(evaluated, scheme):
    with shown(evaluated, color_scheme=scheme) as page:
        colours = page.evaluate("""() => {
            const style = getComputedStyle(document.documentElement);
            const names = ["ink", "soft", "accent", "warn", "paper", "card"];
            return Object.fromEntries(names.map(n => [n, style.getPropertyValue("--" + n).trim()]));
        }""")
    for ink in ("ink", "soft", "accent", "warn"):
        for ground in ("paper", "card"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it, of two `#rrggbb`."""

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_a_heading_sorts_its_table_by_click_and_by_key(evaluated):
    with shown(evaluated) as page:
        table = place_of(page, "Classes")
        heading = page.locator("table.sortable").nth(table).locator("thead th").nth(1)
        before = column(page, table, 2)
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        numbers = [int(n.replace(",", "")) for n in column(page, table, 2)]
        assert numbers == sorted(numbers, reverse=True) != [int(n) for n in before]
        heading.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        assert [int(n.replace(",", "")) for n in column(page, table, 2)] == numbers[::-1]
        name = page.locator("table.sortable").nth(table).locator("thead th").first
        name.get_by_role("button").click()
        names = column(page, table, 1)
        assert names == sorted(names) and heading.get_attribute("aria-sort") is None


def test_what_cannot_be_told_stays_last(evaluated):
    with shown(evaluated) as page:
        table = place_of(page, "Scores by class")
        heading = page.locator("table.sortable").nth(table).locator("thead th").nth(1)
        for _ in range(2):
            heading.get_by_role("button").click()
            said = column(page, table, 2)
            known = [s for s in said if s != "-"]
            assert said == known + ["-"] * (len(said) - len(known)) and len(known) > 3


def test_the_slider_shows_what_a_threshold_keeps_and_the_command(evaluated, demo_run):
    run = Run.open(demo_run)
    uncertainty.write(run, 0.3, near_duplicates=False)
    said = facts.gather(run, 0.3, uncertainty.read(run), {}, 0)
    with shown(evaluated) as page:
        slider, total = page.locator("#threshold"), page.locator("#sweep-total")
        assert slider.input_value() == "30" and slider.get_attribute("min") == "10"
        assert "(as now)" in total.inner_text()
        for step in (45, 60, 100, 10):
            slider.fill(str(step))
            (expected,) = sweep.totals(said, [step])
            shares = [
                "-" if s is None else f"{s:.3f}" for s in (expected.precision, expected.recall)
            ]
            text = total.inner_text()
            assert f"{step / 100:.2f} keeps {expected.instances:,} instances" in text
            assert f"precision {shares[0]}, recall {shares[1]}" in text
            kept = [int(n.replace(",", "")) for n in column(page, place(page), 4)]
            assert kept == [c.swept[step] for c in said.classes]
        slider.focus()
        page.keyboard.press("ArrowRight")
        line = page.locator("#sweep-command").inner_text()
        assert shlex.split(line) == ["annotate", "export", f"run={demo_run}", "threshold=0.11"]
        assert compose(shlex.split(line)[2:], "export").values["threshold"] == 0.11


def place(page) -> int:
    return place_of(page, "Classes at another threshold")


def test_a_class_with_a_threshold_of_its_own_stays(tmp_path):
    run = made(tmp_path / "run", still("a.png", square(5, 5), square(40, 30, class_id=1)))
    text = (run.path / "classes.yaml").read_text()
    (run.path / "classes.yaml").write_text(text.replace("name: car", "name: car\n  threshold: 0.5"))
    page_of(run.path)
    with shown(run.path / "report.html") as page:
        page.locator("#threshold").fill("90")
        assert column(page, place(page), 2) == ["0.50 (own)", "0.90"]
        assert column(page, place(page), 4) == ["1", "0"]


def test_without_scripts_it_reads(evaluated):
    with shown(evaluated, java_script_enabled=False) as page:
        text = page.locator("main").inner_text()
        assert "Scripts are off here" in text and "threshold=0.42" in text
        assert not page.locator("#threshold").is_visible()


def test_what_it_does_not_bring_is_refused(evaluated, tmp_path):
    """The policy lets neither a script that a name smuggles in run, nor a picture be fetched."""
    text = evaluated.read_text()
    evil = """<script>document.title = "taken"</script><b style="color: red">x</b>
        <img src="http://127.0.0.1:9/x" onerror="document.title = 'taken'">"""
    (tmp_path / "evil.html").write_text(text.replace("<main>", f"<main>{evil}"))
    wrong: list[str] = []
    with shown(tmp_path / "evil.html", wrong=wrong) as page:
        assert page.title() == "run: report"
        assert page.locator("#sweep-total").inner_text()  # its own still runs
    refused = " ".join(wrong)
    for directive in ("script-src", "style-src", "img-src"):
        assert f'"{directive} ' in refused or f"{directive} " in refused, directive


def test_hostile_names_are_text_in_what_the_script_makes(tmp_path):
    name = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
    classes = ClassList((ClassSpec(name, ("x",)), ClassSpec("<b>bus", ("y",))))
    run = made(tmp_path / "run", still("a.png", square(5, 5)), classes=classes)
    page_of(run.path)
    with shown(run.path / "report.html") as page:
        assert page.title() == "run: report"
        assert column(page, place(page), 1) == [name, "<b>bus"]
        assert page.locator("main img, main b:has-text('bus')").count() == 0


def test_in_print_there_is_nothing_to_click(evaluated):
    with shown(evaluated) as page:
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible() and not page.locator("#threshold").is_visible()
        tall = page.locator(".tall").first
        assert tall.evaluate("e => e.scrollHeight <= e.clientHeight + 1")


def test_headings_and_links_are_in_order(evaluated):
    with shown(evaluated) as page:
        levels = page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))"
        )
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert len(ids) == len(set(ids))
    links = re.findall(r'href="#([^"]+)"', evaluated.read_text())
    assert links and set(links) <= set(ids)
