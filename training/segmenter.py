"""Train the tiny SAM 2.1: `python -m training.segmenter --run training/runs/segmenter`.

The model is sam2's own SAM2Base, built from the yaml it ships with. Image steps teach boxes, points
and corrections; clip steps teach memory: the prompt is given on the first frame only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from hydra.utils import instantiate
from numpy.random import Generator
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor, nn

from annotate.synthetic.canvas import Scene, SceneObject
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from training.loop import command_line, model_view, normalise, prepare_torch, scene_seed, train

YAML: Final = Path(__file__).parents[1] / "annotate/models/tiny/segmenter/sam2.1_tiny.yaml"
SIDE: Final = 256  # sam2 squashes every picture to a square of this side
# (width, height) a scene is drawn at before it is squashed.
_DRAWN: Final = ((256, 256), (256, 256), (320, 240), (240, 320), (400, 224), (224, 400), (192, 192))

_IMAGES, _PROMPTS_EACH = 8, 5
# From which progress on: share of clip steps, clips and frames of each. Pictures first: they alone
# train the encoder, which memory rests on. Short clips teach faster; long ones fill the memory
# (7 frames, 16 pointers) as whole clips will, and show the model its own drift.
_CLIP_STAGES: Final = ((0.0, 0.25, 4, 7), (0.1, 0.65, 4, 7), (0.5, 0.65, 3, 12))
_OBJECTS_EACH: Final = 4
_GAP_ODDS, _BAR_ODDS, _ABSENCE_ODDS, _CUT_ODDS = 0.35, 0.45, 0.5, 0.1
_CORRECTION_ODDS: Final = 0.25
# A frame without the object weighs this much in its score: there are few, and without it the model
# learns to call everything seen.
_GONE_WEIGHT: Final = 3.0
_MIN_AREA: Final = 80  # px of the squashed picture; less is not asked for
_VISIBLE_AREA: Final = 30  # between none and this much, an object counts as neither seen nor gone
_CERTAIN: Final = 10.0  # logit of a mask that is given and not guessed
_FEATURE_PENALTY: Final = 0.003

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Points as sam2 takes them; a box is two points labelled 2 and 3."""

    points_kp2: Tensor
    labels_kp: Tensor  # int32

    def plus(self, other: Prompts) -> Prompts:
        return Prompts(
            torch.cat([self.points_kp2, other.points_kp2], 1),
            torch.cat([self.labels_kp, other.labels_kp], 1),
        )

    def as_sam2(self) -> dict[str, Tensor]:
        return {"point_coords": self.points_kp2, "point_labels": self.labels_kp}


@dataclass(frozen=True, slots=True, eq=False)
class ClipBatch:
    pixels: Tensor  # (t * b, 3, side, side), all clips of a frame next to each other
    masks_tkhw: BoolArray
    clip_of_k: Tensor  # which clip an object belongs to
    times: list[int]  # frame numbers; the first is 0 and carries the prompt


class SegmenterTask:
    """Image and clip steps in random order; from scratch, memory is fed true masks at first."""

    def __init__(self, init: Path | None = None) -> None:
        self._model = build_model(init)
        # A fresh model's guesses are worth nothing as memories for the first half of its training.
        self._teacher = 0.5 if init is None else 0.0

    @property
    def model(self) -> nn.Module:
        return self._model  # type: ignore[no-any-return]

    def loss(self, rng: Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        _, share, clips, frames = [s for s in _CLIP_STAGES if s[0] <= progress][-1]
        if rng.random() < share:
            teacher = max(0.0, 1 - progress / self._teacher) if self._teacher else 0.0
            batch = draw_clips(rng, clips=clips, frames=frames)
            return self._clip_loss(rng, batch, teacher)
        return self._image_loss(rng)

    def export(self, state: dict[str, Tensor], folder: Path) -> None:
        """Write what sam2 loads: the state under the key "model", and the yaml beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({"model": state}, folder / "sam2.1_tiny.pt")
        (folder / YAML.name).write_text(YAML.read_text())

    def _image_loss(self, rng: Generator) -> tuple[Tensor, dict[str, float]]:
        pixels, masks_khw, image_of_k = draw_images(rng)
        model = self._model
        _, features, _, sizes = model._prepare_backbone_features(model.forward_image(pixels))
        fine = [
            f.permute(1, 2, 0).unflatten(2, s)[image_of_k]
            for f, s in zip(features[:-1], sizes[:-1], strict=True)
        ]
        coarse = (features[-1] + model.no_mem_embed).permute(1, 2, 0).unflatten(2, sizes[-1])
        with_box = rng.random() < 0.65
        prompts = box_prompts(rng, masks_khw) if with_box else point_prompts(rng, masks_khw)
        # Stride-16 features grow until they drown the positions of the prompts; keep them small.
        loss = _FEATURE_PENALTY * features[-1].pow(2).mean()
        present = torch.ones(len(masks_khw))
        previous, first_iou = None, float("nan")
        for round_ in range(2 if rng.random() < _CORRECTION_ODDS else 1):
            points = (prompts.points_kp2, prompts.labels_kp)
            encoder = model.sam_prompt_encoder
            sparse, dense = encoder(points=points, boxes=None, masks=previous)
            logits, ious, _, seen = model.sam_mask_decoder.predict_masks(
                image_embeddings=coarse[image_of_k],
                image_pe=encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                repeat_image=False,
                high_res_features=fine,
            )
            single, iou = mask_loss(logits[:, :1], ious[:, :1], masks_khw, present, side=128)
            several, _ = mask_loss(logits[:, 1:], ious[:, 1:], masks_khw, present, side=128)
            score = F.binary_cross_entropy_with_logits(seen[:, 0], present)
            loss = loss + single + 0.5 * several + 0.1 * score
            previous = logits[:, :1].detach().clamp(-32, 32)
            if round_ == 0:
                first_iou = float(iou.mean())
                guess = F.interpolate(previous, size=(SIDE, SIDE), mode="bilinear")[:, 0] > 0
                prompts = prompts.plus(correction_prompts(rng, guess.numpy(), masks_khw))
        return loss, {"iou_box" if with_box else "iou_point": first_iou}

    def _clip_loss(
        self, rng: Generator, batch: ClipBatch, teacher: float
    ) -> tuple[Tensor, dict[str, float]]:
        model, frames = self._model, len(batch.times)
        features, positions, sizes = self._frozen_features(batch.pixels)
        mask_input, point_input = _first_prompt(rng, batch.masks_tkhw[0])
        memory: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
        clips = len(batch.pixels) // frames
        loss, ious, right, wrong = torch.zeros(()), [], [], []
        for t, time in enumerate(batch.times):
            rows = batch.clip_of_k + t * clips
            seen_features = [f[:, rows] for f in features]
            truth_khw = batch.masks_tkhw[t]
            current, heads, _, _ = model._track_step(
                time,
                t == 0,
                seen_features,
                [p[:, rows] for p in positions],
                sizes,
                point_input if t == 0 else None,
                mask_input if t == 0 else None,
                memory,
                64,  # frames of the clip, more than the furthest pointer
                False,
                None,
            )
            logits, _, iou_guess, _, guess, current["obj_ptr"], score = heads
            if t < frames - 1:
                guess, score_memory = guess.detach(), score.detach()
                if rng.random() < teacher:
                    present = truth_khw.any(axis=(1, 2), keepdims=True)[:, 0]
                    guess, score_memory = _certain(truth_khw)[:, None], _certain(present)
                has_points = point_input is not None and t == 0
                model._encode_memory_in_output(
                    seen_features, sizes, has_points or None, True, guess, score_memory, current
                )
            memory["cond_frame_outputs" if t == 0 else "non_cond_frame_outputs"][time] = current
            if t == 0 and mask_input is not None:
                continue  # the given mask is the output: nothing to learn
            area = torch.from_numpy(truth_khw.sum(axis=(1, 2)))
            present, sure = area > 0, (area == 0) | (area >= _VISIBLE_AREA)
            claimed = score[:, 0] > 0
            # An unclaimed object's logits are a constant without gradient.
            of_mask, iou = mask_loss(logits, iou_guess, truth_khw, present & claimed, side=64)
            weight = sure * torch.where(present, 1.0, _GONE_WEIGHT)
            of_score = F.binary_cross_entropy_with_logits(
                score[:, 0], present.float(), weight=weight, reduction="sum"
            ) / weight.sum().clamp(min=1)
            loss = loss + of_mask + of_score
            if t:
                ious += (iou * claimed)[area >= _VISIBLE_AREA].tolist()
                right += claimed[sure & present].tolist()
                wrong += claimed[~present].tolist()
        report = {"clip_iou": ious, "seen": right, "seen_though_gone": wrong}
        return loss / (frames - 1), {
            name: float(np.mean(values)) if values else float("nan")
            for name, values in report.items()
        }

    def _frozen_features(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor], Any]:
        """Image features without gradient: image steps train the encoder at a tenth of the cost."""
        model = self._model
        with torch.no_grad():
            out = model.image_encoder(pixels)
        levels = out["backbone_fpn"]
        levels[0] = model.sam_mask_decoder.conv_s0(levels[0])
        levels[1] = model.sam_mask_decoder.conv_s1(levels[1])
        _, features, positions, sizes = model._prepare_backbone_features(out)
        return features, positions, sizes


def build_model(init: Path | None = None) -> Any:
    """SAM2Base from scratch, or with the weights of the checkpoint `init`."""
    torch.manual_seed(0)
    model = instantiate(OmegaConf.load(YAML).model)
    if init is not None:
        model.load_state_dict(torch.load(init, weights_only=True)["model"])
        return model
    with torch.no_grad():
        _prompt_prior(model)
        _memory_prior(model)
    return model


def _prompt_prior(model: Any) -> None:
    """Let attention in the mask decoder start as similarity of position.

    With plain initialisation training stays at "everything that is an object" for a long time.
    """
    decoder, encoder = model.sam_mask_decoder, model.sam_prompt_encoder
    decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
    transformer = decoder.transformer
    attentions = [(transformer.final_attn_token_to_image, 2.0)]
    for layer in transformer.layers:
        attentions += [
            (layer.self_attn, 1.4),
            (layer.cross_attn_token_to_image, 2.0),
            (layer.cross_attn_image_to_token, 2.0),
        ]
    for attention, gain in attentions:
        nn.init.orthogonal_(attention.q_proj.weight, gain)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        nn.init.orthogonal_(attention.v_proj.weight)
        attention.out_proj.weight.copy_(attention.v_proj.weight.T)
        for part in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
            part.bias.zero_()
    # Small embeddings, so that positions dominate; Fourier features of two scales.
    half = encoder.embed_dim // 2
    scale = torch.where(torch.arange(half) % 2 == 0, 0.35, 1.0)
    encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(torch.randn(2, half) * scale)
    for embedding in (*encoder.point_embeddings, encoder.not_a_point_embed):
        nn.init.normal_(embedding.weight, std=0.4)
    nn.init.normal_(encoder.no_mask_embed.weight, std=0.02)
    for embedding in (decoder.iou_token, decoder.mask_tokens, decoder.obj_score_token):
        nn.init.normal_(embedding.weight, std=0.5)


def _memory_prior(model: Any) -> None:
    """Let memory attention start as matching of appearance: scaled on a few generated pictures."""
    stream = np.random.default_rng(0)
    scenes = [draw_still(scene_seed(stream), (SIDE, SIDE), min_objects=4) for _ in range(8)]
    masks = _certain(np.stack([s.objects[0].mask for s in scenes]))[:, None]
    features = model.forward_image(normalise([s.image for s in scenes]))["backbone_fpn"][-1]
    tokens = features.flatten(2).permute(0, 2, 1)
    spread, channels, width = tokens.std(-1).mean(), features.shape[1], model.mem_dim
    encoder = model.memory_encoder
    encoder.pix_feat_proj.weight.copy_(torch.eye(channels)[:, :, None, None] / spread)
    encoder.pix_feat_proj.bias.zero_()
    to_memory = nn.init.orthogonal_(torch.empty(width, channels))
    encoder.out_proj.weight.copy_(to_memory[:, :, None, None])
    encoder.out_proj.bias.zero_()
    last = encoder.mask_downsampler.encoder[-1]
    last.bias.zero_()
    embedded = encoder.mask_downsampler(masks)
    deviation = (embedded - embedded.mean((2, 3), keepdim=True)).std().clamp(min=1e-3)
    last.weight.div_(deviation)
    last.bias.sub_(encoder.mask_downsampler(masks).mean((0, 2, 3)))
    for layer in model.memory_attention.layers:
        cross = layer.cross_attn_image
        match = nn.init.orthogonal_(torch.empty(channels, width))
        cross.q_proj.weight.copy_(match @ to_memory * 1.7)
        cross.k_proj.weight.copy_(match * 1.7)
        nn.init.orthogonal_(cross.v_proj.weight)
        nn.init.orthogonal_(cross.out_proj.weight)
        cross.out_proj.weight.mul_(spread)
        for part in (cross.q_proj, cross.k_proj, cross.v_proj, cross.out_proj):
            part.bias.zero_()
        layer.self_attn.out_proj.weight.mul_(0.1)
        layer.linear2.weight.mul_(0.1)
    model.memory_attention.norm.weight.fill_(float(spread))
    model.memory_attention.norm.bias.copy_(tokens.mean((0, 1)) + model.no_mem_embed.view(-1))


def mask_loss(
    logits_kmhw: Tensor, ious_km: Tensor, truth_khw: BoolArray, present_k: Tensor, *, side: int
) -> tuple[Tensor, Tensor]:
    """Loss over the present objects and the IoU of each object's best guess, on a grid of `side`.

    Of several guesses the best one learns most, so that they part ways instead of averaging.
    """
    size = (side, side)
    logits = F.interpolate(logits_kmhw, size=size, mode="bilinear").clamp(-60, 60)
    truth = F.avg_pool2d(torch.from_numpy(truth_khw)[:, None].float(), SIDE // side)
    unit = (side / 128) ** 2
    # The neighbourhood of the object weighs more, the smaller the object: else small ones vanish.
    weight = (3000 * unit / (truth.sum((2, 3), keepdim=True) + 500 * unit)).clamp(max=4)
    near = F.max_pool2d(F.max_pool2d(truth, side // 16), 3, 1, 1)
    weight = 0.3 + weight * F.interpolate(near, size=size)
    truth = truth.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    prob = logits.sigmoid()
    overlap, total = (prob * truth).sum((2, 3)), (prob + truth).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    with torch.no_grad():
        guess, solid = logits > 0, truth > 0.5
        iou = (guess & solid).sum((2, 3)) / (guess | solid).sum((2, 3)).clamp(min=1)
    each_km = 3 * (entropy * weight).mean((2, 3)) + dice
    best = each_km.argmin(1, keepdim=True)
    loss = each_km.gather(1, best)[:, 0]
    if each_km.shape[1] > 1:
        loss = loss + 0.2 * each_km.mean(1)
    loss = loss + 0.5 * (ious_km - iou).abs().mean(1)
    present = present_k.float()
    return (loss * present).sum() / present.sum().clamp(min=1), iou.gather(1, best)[:, 0]


def draw_images(rng: Generator) -> tuple[Tensor, BoolArray, Tensor]:
    """Pictures (b, 3, side, side), masks (k, side, side), and which picture a mask belongs to.

    Half of the pictures are frames of clips: there, overlap knows no limit.
    """
    images, masks, owners = [], [], []
    for number in range(_IMAGES):
        scene, found = _scene_with_objects(rng)
        images.append(model_view(rng, scene.image, (SIDE, SIDE)))
        for index in rng.choice(len(found), _PROMPTS_EACH, replace=len(found) < _PROMPTS_EACH):
            masks.append(found[index])
            owners.append(number)
    return normalise(images), np.stack(masks), torch.tensor(owners)


def _scene_with_objects(rng: Generator) -> tuple[Scene, list[BoolArray]]:
    while True:
        size_wh, seed = _DRAWN[int(rng.integers(len(_DRAWN)))], scene_seed(rng)
        if rng.random() < 0.5:
            scene = draw_still(seed, size_wh, max_objects=8)
        else:
            scene = Clip(seed, size_wh).frame(int(rng.integers(0, 32)))
        masks = [squash(item.mask) for item in scene.objects]
        masks = [mask for mask in masks if mask.sum() >= _MIN_AREA]
        if masks:
            return scene, masks


def draw_clips(rng: Generator, *, clips: int, frames: int) -> ClipBatch:
    """Clips of a few frames, in a third of the batches with a gap after the first one."""
    start = int(rng.integers(2, 40)) if rng.random() < _GAP_ODDS else 1
    times = [0, *range(start, start + frames - 1)]
    images: list[list[np.ndarray]] = []
    masks: list[list[BoolArray]] = []
    owners: list[int] = []
    while len(images) < clips:
        scenes, ids = _frames_with_objects(rng, times)
        for track_id in ids:
            masks.append([_mask_of(scene, track_id) for scene in scenes])
            owners.append(len(images))
        images.append([model_view(rng, scene.image, (SIDE, SIDE)) for scene in scenes])
    pixels = normalise([image for frame in zip(*images, strict=True) for image in frame])
    return ClipBatch(pixels, np.array(masks).swapaxes(0, 1), torch.tensor(owners), times)


def _frames_with_objects(rng: Generator, times: Sequence[int]) -> tuple[list[Scene], list[int]]:
    """Frames of a clip and the tracks to ask for, all of them in the first frame.

    Left to chance an object is gone from one frame in two hundred, too few to learn to let go: so
    some are taken out for a while, and some clips end in a cut.
    """
    size_wh = _DRAWN[int(rng.integers(len(_DRAWN)))]
    # Slow and fast motion; slower in batches with a gap, which cover more time.
    pace = float(rng.choice((0.6, 1.0, 1.6, 3.0) if times[1] == 1 else (0.3, 0.6, 1.0, 1.6)))
    while True:
        clip = Clip(scene_seed(rng), size_wh, occluder=bool(rng.random() < _BAR_ODDS))
        first = clip.frame(0)
        ids = [o.track_id for o in first.objects if squash(o.mask).sum() >= _MIN_AREA]
        if not ids:
            continue
        rng.shuffle(ids)
        ids = ids[:_OBJECTS_EACH]
        away = {i: _absence(rng, len(times)) for i in ids if rng.random() < _ABSENCE_ODDS}
        cut = int(rng.integers(1, len(times))) if rng.random() < _CUT_ODDS else len(times)
        scenes = [first]
        for index, time in enumerate(times[1:], start=1):
            if index >= cut:
                other = Clip(scene_seed(rng), size_wh).frame(0) if index == cut else scenes[-1]
                scenes.append(Scene(other.image, ()))
            else:
                gone = [i for i, frames in away.items() if index in frames]
                scenes.append(clip.frame(time * pace, without=gone))
        return scenes, ids


def _absence(rng: Generator, frames: int) -> range:
    """The frames an object is gone from: any but the first, to the end or not."""
    start = int(rng.integers(1, frames))
    return range(start, start + int(rng.integers(1, frames)))


def _mask_of(scene: Scene, track_id: int) -> BoolArray:
    found: Sequence[SceneObject] = [o for o in scene.objects if o.track_id == track_id]
    return squash(found[0].mask) if found else np.zeros((SIDE, SIDE), bool)


def squash(mask: BoolArray) -> BoolArray:
    """A mask at the size the model sees."""
    if mask.shape == (SIDE, SIDE):
        return mask
    grey = cv2.resize(mask.astype(np.uint8) * 255, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(grey > 127)


def box_prompts(rng: Generator, masks_khw: BoolArray) -> Prompts:
    """Boxes of the masks, all exact or all shaken by up to 5 or 10 % of their sides."""
    noise = rng.choice([0, 0.05, 0.1])
    boxes = []
    for mask in masks_khw:
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
        sides = np.tile(box[2:] - box[:2], 2)
        boxes.append((box + rng.uniform(-noise, noise, 4) * sides).clip(0, SIDE))
    points = torch.from_numpy(np.stack(boxes).astype(np.float32)).reshape(-1, 2, 2)
    return Prompts(points, torch.tensor([[2, 3]], dtype=torch.int32).repeat(len(boxes), 1))


def point_prompts(rng: Generator, masks_khw: BoolArray) -> Prompts:
    """One positive click anywhere on each mask."""
    points = torch.stack([_click(rng, mask) for mask in masks_khw])[:, None]
    return Prompts(points, torch.ones(len(points), 1, dtype=torch.int32))


def correction_prompts(rng: Generator, guess_khw: BoolArray, truth_khw: BoolArray) -> Prompts:
    """One click on the larger error: positive on what is missed, negative on what is too much."""
    points, labels = [], []
    for guess, truth in zip(guess_khw, truth_khw, strict=True):
        missed, excess = truth & ~guess, guess & ~truth
        positive = missed.sum() >= excess.sum()
        where = missed if positive else excess
        points.append(_click(rng, where if where.any() else truth))
        labels.append(int(positive))
    return Prompts(torch.stack(points)[:, None], torch.tensor(labels, dtype=torch.int32)[:, None])


def _click(rng: Generator, mask: BoolArray) -> Tensor:
    rows, columns = np.nonzero(mask)
    index = int(rng.integers(len(rows)))
    return torch.tensor([float(columns[index]), float(rows[index])])


def _first_prompt(
    rng: Generator, masks_khw: BoolArray
) -> tuple[Tensor | None, dict[str, Tensor] | None]:
    """The prompt of a clip: mask, or box or point, as `_track_step` takes them."""
    choice = rng.random()
    if choice < 0.5:
        return torch.from_numpy(masks_khw)[:, None].float(), None
    make = box_prompts if choice < 0.85 else point_prompts
    return None, make(rng, masks_khw).as_sam2()


def _certain(mask: BoolArray) -> Tensor:
    return (torch.from_numpy(mask).float() * 2 - 1) * _CERTAIN


def main() -> None:
    options = command_line(__doc__ or "", lr=1.5e-3, lr_end=2e-5).parse_args()
    prepare_torch(options.threads)
    train(SegmenterTask(options.init), options)


if __name__ == "__main__":
    main()
