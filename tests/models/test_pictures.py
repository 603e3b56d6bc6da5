"""Pictures on a device: sent once, never another one's, and not kept when they are gone."""

import gc

import numpy as np
import pytest
import torch

from annotate.models import pictures
from annotate.models.pictures import on_device
from annotate.models.transfer import to_host

CPU, META = torch.device("cpu"), torch.device("meta")


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("writable", [True, False])
def test_planes_are_those_of_the_picture(writable):
    image = picture(0)
    image.flags.writeable = writable
    planes = on_device(image, CPU)
    assert planes.is_contiguous() and planes.dtype == torch.uint8
    np.testing.assert_array_equal(planes.numpy(), image.transpose(2, 0, 1))
    np.testing.assert_array_equal(
        on_device(image[::-1, 1:], CPU), image[::-1, 1:].transpose(2, 0, 1)
    )


def test_who_looks_next_gets_what_is_there_and_each_device_its_own():
    image = picture(1)
    assert on_device(image, CPU) is on_device(image, CPU)
    assert on_device(image, META).device.type == "meta"
    assert on_device(image.copy(), CPU) is not on_device(image, CPU)


def test_a_picture_in_the_place_of_one_that_is_gone_is_sent_itself():
    for seed in range(50):  # places in memory come again
        image = picture(seed)
        np.testing.assert_array_equal(on_device(image, CPU).numpy(), image.transpose(2, 0, 1))
        del image


def test_what_is_gone_is_let_go_of_and_what_is_there_is_bounded(monkeypatch):
    monkeypatch.setattr(pictures, "KEPT", 3 * picture(0).nbytes)
    alive = [picture(seed) for seed in range(6)]
    sent = [on_device(image, META) for image in alive]
    assert [on_device(i, META) is s for i, s in zip(alive[3:], sent[3:], strict=True)] == [True] * 3
    assert on_device(alive[0], META) is not sent[0]
    del alive
    gc.collect()
    assert not pictures._held


def test_tensors_come_over_as_they_are():
    made = torch.rand(2, 3), torch.rand(4).bfloat16(), torch.zeros(0, 5)
    for found, given in zip(to_host(*made), made, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, given.float(), rtol=0, atol=0)
