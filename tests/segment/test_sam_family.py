"""SAM, SAM-HQ, SAM 2 and EdgeTAM of transformers, against the library's own processors."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from annotate.errors import WeightsError
from annotate.segment.sam2_transformers import Sam2Transformers
from annotate.segment.sam_family.predictor import boxes_in_input, of_picture
from annotate.segment.upsampling import upsample_masks
from annotate.synthetic.still import draw_still
from tests.segment.made import sam, sam2_transformers
from tests.segment.making import overrides, segmenter

PADDED, STRETCHED = ("sam", "sam_hq"), ("sam2_transformers", "edgetam")


def theirs(name: str, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks (k, h, w) and estimates (k,) as the pages of transformers make them."""
    import transformers

    kind = {"edgetam": "Sam2Processor", "sam2_transformers": "Sam2Processor"}
    kind |= {"sam": "SamProcessor", "sam_hq": "SamHQProcessor"}
    made = sam.padded() if name in PADDED else sam2_transformers.stretched()
    processor = getattr(transformers, kind[name])(image_processor=made)
    inputs = processor(images=image, input_boxes=[boxes.tolist()], return_tensors="pt")
    model = segmenter(name)._predictor._model
    sizes = {k: inputs[k] for k in ("original_sizes", "reshaped_input_sizes") if k in inputs}
    with torch.inference_mode():
        out = model(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"].float(),
            multimask_output=False,
        )
        (masks,) = processor.post_process_masks(list(out.pred_masks), **sizes)
    return masks[:, 0].numpy(), out.iou_scores[0, :, 0].numpy()


@pytest.mark.parametrize("name", [*PADDED, *STRETCHED])
@pytest.mark.parametrize("size_wh", [(320, 240), (200, 320), (150, 333), (64, 64), (641, 77)])
def test_masks_are_those_of_the_librarys_own_processor(name, size_wh):
    scene = draw_still(7, size_wh, min_objects=3)
    boxes = np.array([o.box_xyxy for o in scene.objects], np.float32)
    known = segmenter(name)
    (embedding,) = known.embed([scene.image])
    logits, ious = known.decode(embedding, torch.from_numpy(boxes))
    ours = upsample_masks(logits, scene.image.shape[:2]).numpy()
    expected, estimates = theirs(name, scene.image, boxes)
    assert ours.shape == expected.shape
    for mine, other in zip(ours, expected, strict=True):
        assert (mine & other).sum() >= 0.99 * (mine | other).sum()
    np.testing.assert_allclose(ious.numpy(), estimates.clip(0, 1), atol=1e-3)


def seen(size_hw, shown_hw, input_hw=(64, 64)) -> SimpleNamespace:
    padded = shown_hw != input_hw
    return SimpleNamespace(size_hw=size_hw, shown_hw=shown_hw, input_hw=input_hw, padded=padded)


@pytest.mark.parametrize(
    ("shown_hw", "box", "there"),
    [
        ((32, 64), [0.0, 0, 128, 64], [0.0, 0, 64, 32]),  # half as large, padded below
        ((32, 64), [16.0, 8, 32, 24], [8.0, 4, 16, 12]),
        ((64, 64), [16.0, 8, 32, 24], [8.0, 8, 16, 24]),  # stretched over all of it
    ],
)
def test_boxes_go_where_the_picture_stands_in_the_input(shown_hw, box, there):
    found = boxes_in_input(torch.tensor([box]), seen((64, 128), shown_hw))
    torch.testing.assert_close(found, torch.tensor([there]))


def test_the_box_of_a_picture_never_reaches_into_the_padding():
    """The model's input is 1024 px; 3:2 does not end with a whole logit."""
    found = boxes_in_input(torch.tensor([[0.0, 0, 3000, 2000]]), seen((2000, 3000), (683, 1024)))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0, 1024, 683]]))


def test_padding_is_cut_off_where_it_begins_between_two_logits():
    """A ramp down the input: 16 logits for 64 px, of which the picture has 45."""
    ramp = (torch.arange(16) + 0.5)[None, :, None].expand(1, 16, 16) * 4  # px of the input
    cut = of_picture(ramp, seen((90, 128), (45, 64)))
    assert cut.shape == (1, 45, 64)
    rows = torch.arange(45) + 0.5
    torch.testing.assert_close(cut[0, 2:, 0], rows[2:])
    assert of_picture(ramp, seen((99, 98), (64, 64))) is ramp


def test_one_pass_of_the_encoder_serves_all_boxes(monkeypatch):
    known = segmenter("sam")
    model = known._predictor._model
    calls: list[str] = []
    encoder, decoder = model.vision_encoder.forward, model.mask_decoder.forward
    monkeypatch.setattr(
        model.vision_encoder,
        "forward",
        lambda *a, **k: (calls.append("encoder"), encoder(*a, **k))[1],
    )
    monkeypatch.setattr(
        model.mask_decoder,
        "forward",
        lambda *a, **k: (calls.append("decoder"), decoder(*a, **k))[1],
    )
    (embedding,) = known.embed([draw_still(7, (90, 60), min_objects=3).image])
    known.decode(embedding, torch.tensor([[0.0, 0, 9, 9]] * 5))
    assert calls == ["encoder", "decoder"]


def folder(name: str) -> str:
    (asked,) = (o for o in overrides(name) if o.startswith("segment.model="))
    return asked.removeprefix("segment.model=")


def test_a_checkpoint_for_videos_serves_pictures(tmp_path):
    """As the hub has SAM 2: `model_type` sam2_video, with the tensors of its memory."""
    import transformers

    made = sam2_transformers
    config = transformers.Sam2VideoConfig(
        vision_config=made.VISION, prompt_encoder_config=made.PROMPTS,
        mask_decoder_config=made.DECODER, image_size=made.SIDE,
        memory_attention_hidden_size=32, memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32, memory_encoder_hidden_size=32,
        memory_encoder_output_channels=16, mask_downsampler_embed_dim=32,
        memory_fuser_embed_dim=32, memory_fuser_intermediate_dim=32,
        memory_attention_rope_feat_sizes=[4, 4],
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Sam2VideoModel(config)
    model.save_pretrained(tmp_path)
    made.stretched().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sam2_video"
    known = Sam2Transformers(model=str(tmp_path), revision=None, device="cpu")
    known.load()
    loaded = known._predictor._model.state_dict()
    shared = loaded.keys() & model.state_dict().keys()
    assert len(shared) == len(loaded)
    assert all(torch.equal(loaded[name], model.state_dict()[name]) for name in shared)


def test_a_model_of_another_kind_is_refused_by_name():
    known = Sam2Transformers(model=folder("sam"), revision=None, device="cpu")
    with pytest.raises(WeightsError, match=r"model_type 'sam'; a Sam2 is one of sam2, sam2_video"):
        known.load()


def test_a_folder_without_a_processor_or_with_a_pickle_is_refused(tmp_path):
    known = Sam2Transformers(model=str(tmp_path), revision=None, device="cpu")
    with pytest.raises(WeightsError, match=r"has no config\.json"):
        known.load()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"no \.safetensors weights.*is never loaded"):
        known.load()
