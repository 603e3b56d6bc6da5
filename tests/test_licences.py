"""Licences are listed for all that is locked, and none that annotate runs on binds its users."""

import re

from tests import licences


def listed() -> dict[str, str]:
    rows = re.findall(r"^\| ([\w-]+) \| (.*) \|$", licences.PAGE.read_text("utf-8"), re.M)
    return {name: licence for name, licence in rows if name != "package"}


def test_every_locked_package_is_listed_with_its_licence():
    assert set(listed()) == set(licences.locked())


def test_nothing_that_binds_users_is_needed_to_run():
    needed = licences.running()
    assert {"torch", "fiftyone", "ray", "s3fs", "trackeval"} <= needed
    assert "ultralytics" not in needed
    binding = re.compile(r"\bA?GPL|Affero|GNU General|non-?commercial|proprietary", re.I)
    # CUDA, which torch brings along, is NVIDIA's: to be used, not changed.
    own = [name for name in needed if not name.startswith("nvidia-")]
    bound = {n: said for n in own if binding.search(said := listed().get(n, ""))}
    assert not bound
    assert "AGPL" in listed()["ultralytics"], "which is what this would find"


def test_everything_that_is_installed_has_a_hash():
    text = (licences.ROOT / "requirements.lock").read_text("utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) >= 200
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
