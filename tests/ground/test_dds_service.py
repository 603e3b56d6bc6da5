"""The cloud that fails: what is tried again, what costs a picture, and what ends the run."""

import json
import logging
import threading
import time
import traceback

import pytest

from annotate.errors import MediaError, ServiceError
from annotate.ground.dds.answers import Answers, Asked
from annotate.ground.dds.reply import Result
from annotate.ground.dds.service import _after_s
from tests.dds_server import TOKEN, serve
from tests.ground import dds as cloud

FEW = ("ground.calls.retries=2", "ground.give_up=99")


@pytest.fixture
def dds(monkeypatch):
    monkeypatch.setenv("DDS_API_TOKEN", TOKEN)
    with serve() as service:
        yield service


def find(grounder, *images):
    return grounder.find(list(images) or [cloud.picture()], cloud.FLOOR)


@pytest.mark.parametrize(
    "fault",
    ["later", "429", "429:0.01", "500", "502", "503", "504", "408", "409", "cut", "cut after",
     "json", "odd", "hang:0.2"],
)  # fmt: skip
def test_what_may_pass_is_tried_again_under_the_same_key(dds, fault):
    dds.faults.extend([fault, fault])
    grounder = cloud.loaded(dds, "ground.calls.read_s=0.1", *FEW)
    (found,) = find(grounder)
    assert cloud.boxes_of(found) == cloud.BOXES
    assert len(dds.keys) == 3 and len(set(dds.keys)) == 1 and dds.paid == 1
    assert grounder.tally["calls tried again"] == 2 and grounder.tally["requests asked"] == 1


@pytest.mark.parametrize("fault", ["500", "503", "cut", "json", "later"])
def test_so_it_is_with_looks_at_a_task(dds, fault):
    dds.poll_faults.extend([fault, fault])
    (found,) = find(cloud.loaded(dds, *FEW))
    assert cloud.boxes_of(found) == cloud.BOXES and dds.paid == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("500", "127.0.0.1 fails at it (HTTP 500, code 1, fault 500)"),
        ("400", "127.0.0.1 refuses it (HTTP 400, code 1, fault 400)"),
        ("413", "127.0.0.1 refuses it (HTTP 413, code 1, fault 413)"),
        ("cut", "a reply of 127.0.0.1 broke off ("),
        ("json", "answer is not as documented: it is '<html>not json</html>'"),
        ("odd", "answer is not as documented: data.task_uuid is 7"),
        ("hang:0.2", "no reply of 127.0.0.1 in ground.calls.read_s=0.1"),
    ],
)
def test_what_does_not_pass_costs_the_picture(dds, fault, says):
    dds.faults.extend([fault] * 9)
    with pytest.raises(MediaError) as caught:
        find(cloud.loaded(dds, "ground.calls.read_s=0.1", *FEW))
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fate", "says"),
    [
        ("failed", "the service's task failed: CUDA out of memory"),
        ("endless", "the service's task is running after ground.calls.task_s=0.05 s"),
        ("odd", "not as documented: data.result.objects.0.score is {'category': 'red', 'bbox': ["),
    ],
)
def test_a_task_that_comes_to_nothing_costs_the_picture(dds, fate, says):
    dds.fate = lambda image: fate
    task_s = 0.05 if fate == "endless" else 30
    with pytest.raises(MediaError) as caught:
        find(cloud.loaded(dds, f"ground.calls.task_s={task_s}", *FEW))
    assert says in str(caught.value)


def test_a_picture_too_large_for_the_service_says_what_may_help(dds):
    dds.largest_side = 150
    with pytest.raises(MediaError, match=r"failed: without a reason; .* ground\.longest_side"):
        find(cloud.loaded(dds))
    (found,) = find(cloud.loaded(dds, "ground.longest_side=150"))
    assert cloud.boxes_of(found)["red"] == pytest.approx(cloud.BOXES["red"], abs=2)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("403", "127.0.0.1: refuses the key (HTTP 403, code 1, fault 403); set another one"),
        ("402", "127.0.0.1: wants to be paid (HTTP 402, code 1, fault 402)"),
        ("429", "127.0.0.1: has no time for us (HTTP 429, code 1, fault 429)"),
        ("later", "127.0.0.1: has no time for us (code 202001 try again later)"),
        ("503", "127.0.0.1: is out of service (HTTP 503, code 1, fault 503)"),
        ("302", "127.0.0.1: has no such endpoint (HTTP 302, code 1, fault 302)"),
        ("429:3600", "127.0.0.1: asks to be left alone for 3600 s, more than"),
    ],
)
def test_what_all_pictures_would_meet_ends_the_run(dds, fault, says):
    dds.faults.extend([fault] * 9)
    with pytest.raises(ServiceError) as caught:
        find(cloud.loaded(dds, *FEW))
    assert str(caught.value).startswith(says)


def test_a_service_that_is_not_there_ends_the_run(dds):
    grounder = cloud.loaded(dds, "ground.endpoint=http://127.0.0.1:9", *FEW)
    with pytest.raises(ServiceError, match=r"^127\.0\.0\.1: cannot be reached \(.*when it is back"):
        find(grounder)


def test_a_wrong_key_ends_the_run(dds, monkeypatch):
    monkeypatch.setenv("DDS_API_TOKEN", "another-key")
    with pytest.raises(ServiceError, match=r"refuses the key \(HTTP 401, code 10001, token is"):
        find(cloud.loaded(dds))
    assert dds.paid == 0


def test_failures_in_a_row_are_taken_for_the_service_s(dds):
    dds.fate = lambda image: "failed"
    grounder = cloud.loaded(dds, "ground.give_up=3")
    for by in range(2):
        with pytest.raises(MediaError):
            find(grounder, cloud.shifted(by))
    with pytest.raises(ServiceError, match=r"^ground\.give_up=3: .* retry_failed=true"):
        find(grounder, cloud.shifted(2))


def test_failures_here_and_there_are_the_pictures(dds):
    dds.fate = lambda image: "success" if image[40, 41, 0] == 220 else "failed"
    grounder = cloud.loaded(dds, "ground.give_up=2", "ground.calls.at_once=1")
    for _ in range(3):
        with pytest.raises(MediaError):
            find(grounder, cloud.shifted(100))
        find(grounder, cloud.shifted(_))


def test_of_pictures_asked_together_one_fails_and_no_other_is_paid_again(dds):
    wrong = cloud.shifted(100)
    dds.fate = lambda image: "failed" if (image == wrong).all() else "success"
    grounder = cloud.loaded(dds)
    images = [cloud.shifted(0), wrong, cloud.shifted(2)]
    with pytest.raises(MediaError):
        find(grounder, *images)
    assert dds.paid == 3
    assert len(find(grounder, images[0])) == 1
    with pytest.raises(MediaError, match="CUDA out of memory"):
        find(grounder, images[1])
    assert len(find(grounder, images[2])) == 1
    assert dds.paid == 3
    with pytest.raises(MediaError):  # asked for once more, it is asked
        find(grounder, images[1])
    assert dds.paid == 4


def test_a_service_out_of_memory_is_not_this_machine(dds):
    from annotate.models.memory_limit import is_out_of_memory

    assert not is_out_of_memory(MediaError("the service's task failed: CUDA out of memory"))


def test_a_budget_ends_the_run_before_the_next_request(dds, tmp_path):
    grounder = cloud.loaded(dds, "ground.budget=3")
    grounder.keep_in(tmp_path)
    images = [cloud.shifted(by) for by in range(5)]
    with pytest.raises(ServiceError, match=r"^ground\.budget=3 is spent: this command has asked 3"):
        find(grounder, *images)
    assert dds.paid == 3
    again = cloud.loaded(dds, "ground.budget=3")
    again.keep_in(tmp_path)
    assert len(find(again, *images)) == 5
    assert dds.paid == 5 and again.tally == {"answers at hand": 3, "requests asked": 2}


def test_no_more_requests_are_under_way_than_may_be(dds):
    under_way, most = set(), []

    def fate(image):
        under_way.add(threading.get_ident())
        most.append(sum(task.looks < 2 for task in dds.tasks.values()))
        return "success"

    dds.fate = fate
    grounder = cloud.loaded(dds, "ground.calls.at_once=2")
    find(grounder, *[cloud.shifted(by) for by in range(8)])
    assert max(most) <= 2


def test_calls_come_no_faster_than_asked(dds):
    began = time.monotonic()
    find(cloud.loaded(dds, "ground.calls.per_s=50"), cloud.shifted(0), cloud.shifted(1))
    calls = len(dds.keys) + sum(task.looks for task in dds.tasks.values())
    assert calls == 6 and time.monotonic() - began >= (calls - 1) / 50


def test_retry_after_is_waited_for(dds):
    dds.faults.append("429:0.05")
    began = time.monotonic()
    find(cloud.loaded(dds))
    assert time.monotonic() - began >= 0.05


def test_retry_after_may_be_a_date():
    assert _after_s({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}) > 1e9
    assert _after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    for said in ("", "soon", "-5", "nan"):
        assert _after_s({"retry-after": said}) == 0


def test_the_key_is_shown_nowhere(dds, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    dds.faults.extend(["echo", "later"])
    dds.change = lambda found: found.update(category=f"red {TOKEN}")
    grounder = cloud.loaded(dds, "ground.calls.at_once=1")
    grounder.keep_in(tmp_path)
    with pytest.raises(MediaError, match=r"headers were .*\(token\)") as caught:
        find(grounder)
    find(grounder, cloud.shifted(1))
    written = [p.read_text() for p in tmp_path.rglob("*") if p.is_file()]
    assert written and "red (token)" in "".join(written)
    told = "".join(traceback.format_exception(caught.value, chain=True))
    for text in (*written, told, caplog.text, repr(caught.value), repr(grounder.tally)):
        assert TOKEN not in text


def answer(category: str = "red") -> Result:
    found = {"category": category, "score": 0.5, "bbox": [0, 0, 1, 1], "mask": None}
    return Result.model_validate({"objects": [found]})


DIGEST = "ab" * 32


def test_an_answer_is_kept_as_it_is(tmp_path):
    kept = Answers()
    kept.keep_in(tmp_path)
    assert kept.known(DIGEST) is None
    odd = answer("r\ud800é")
    kept.keep(DIGEST, odd)
    assert kept.known(DIGEST) == odd
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")] == [
        f"answers/ab/{DIGEST}.json"
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("0.5", "0.6"),
        lambda text: "",
        lambda text: "[]",
        lambda text: json.dumps({"answer": {}, "sha256": "0"}),
    ],
)
def test_a_damaged_answer_is_said_and_asked_for_again(dds, tmp_path, caplog, damage):
    find_in(dds, tmp_path)
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_text()
    path.write_text(damage(whole.replace("0.95", "0.5")))
    assert cloud.boxes_of(find_in(dds, tmp_path)) == cloud.BOXES
    assert dds.paid == 2 and f"{path}: damaged, it is asked for again" in caplog.text
    assert path.read_text() == whole


def find_in(dds, folder, *more):
    grounder = cloud.loaded(dds, *more)
    grounder.keep_in(folder)
    (found,) = find(grounder)
    return found


@pytest.mark.parametrize(
    ("change", "paid"),
    [
        ("ground.calls.at_once=2", 0),
        ("ground.iou_threshold=0.7", 1),
        ("ground.longest_side=100", 1),
        ("ground.jpeg_quality=90", 1),
        ("ground.masks=false", 1),
    ],
)
def test_the_same_request_is_not_paid_twice_and_another_one_is(dds, tmp_path, change, paid):
    find_in(dds, tmp_path)
    find_in(dds, tmp_path)
    assert dds.paid == 1
    find_in(dds, tmp_path, change)
    assert dds.paid == 1 + paid


def test_a_task_that_was_begun_before_is_waited_for(dds, tmp_path):
    """As after a kill between the request and its answer."""
    dds.fate = lambda image: "endless"
    grounder = cloud.loaded(dds)
    grounder.keep_in(tmp_path)
    asking = threading.Thread(target=lambda: suppressed(find, grounder), daemon=True)
    asking.start()
    while not any(p.read_text().count("null") == 0 for p in tmp_path.rglob("*.asked")):
        time.sleep(0.005)
    left = {p: p.read_text() for p in tmp_path.rglob("*.asked")}
    grounder._service.halt()
    asking.join()
    for path, text in left.items():
        path.write_text(text)
    dds.fate = lambda image: "success"
    again = cloud.loaded(dds, "ground.budget=0")
    again.keep_in(tmp_path)
    assert cloud.boxes_of(find(again)[0]) == cloud.BOXES
    assert dds.paid == 1 and again.tally == {"requests of before waited for": 1}
    assert not list(tmp_path.rglob("*.asked"))


def suppressed(act, *given):
    try:
        act(*given)
    except Exception:
        return


def test_a_task_of_before_that_is_gone_is_asked_anew(dds, tmp_path):
    grounder = cloud.loaded(dds)
    grounder.keep_in(tmp_path)
    (request,) = grounder._requests(cloud.picture(), cloud.FLOOR)
    grounder._answers.note(request.digest, Asked(Asked.new().key, "gone"))
    find(grounder)
    assert dds.paid == 1


def test_a_request_that_was_not_heard_of_is_known_by_its_key(dds, tmp_path):
    """As after a kill while the request is sent: the service has the task, we do not."""
    grounder = cloud.loaded(dds)
    grounder.keep_in(tmp_path)
    (request,) = grounder._requests(cloud.picture(), cloud.FLOOR)
    asked = Asked.new()
    grounder._answers.note(request.digest, asked)
    grounder._service.begin(grounder._path, request.body(), asked.key)
    find(grounder)
    assert dds.paid == 1 and dds.keys == [asked.key] * 2


def test_an_interrupt_leaves_no_thread_that_waits(dds, monkeypatch):
    dds.fate = lambda image: "endless"
    grounder = cloud.loaded(dds, "ground.calls.poll_s=30")
    from annotate.ground.dds import asking

    def interrupted(futures):
        while not dds.paid:
            time.sleep(0.005)
        raise KeyboardInterrupt

    monkeypatch.setattr(asking, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find(grounder)
    monkeypatch.undo()
    waiting = [t for t in threading.enumerate() if t.name.startswith("ask")]
    for thread in waiting:
        thread.join(10)
        assert not thread.is_alive()
