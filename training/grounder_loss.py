"""Loss of the grounder: set prediction on every decoder layer, dense on the two-stage proposals.

Letters: b pictures, q queries or proposals, k objects (padded), n text tokens, l decoder layers.
Boxes are cxcywh in fractions of the picture's sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.optimize import linear_sum_assignment
from torch import Tensor

_CLASS, _L1, _GIOU = 2.0, 5.0, 2.0
_STRIDES: Final = (8, 16, 32)
_PROPOSALS_PER_OBJECT: Final = 4
_SEPARATORS: Final = (0, 101, 102, 1012, 1029)  # [PAD] [CLS] [SEP] . ?


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    boxes_bk4: Tensor
    tokens_bkn: Tensor  # 1 at the tokens of every phrase that describes the object
    real_bk: Tensor  # False at padding
    text_bn: Tensor  # False at padding

    @staticmethod
    def build(
        input_ids_bn: Tensor, boxes: Sequence[np.ndarray], describes: Sequence[np.ndarray]
    ) -> Targets:
        """Of each picture: boxes (objects, 4) and describes (objects, phrases).

        Objects that no phrase describes were not asked for and drop out.
        """
        count = max(1, max(int(d.any(axis=1).sum()) for d in describes))
        b, n = input_ids_bn.shape
        boxes_bk4 = torch.full((b, count, 4), 0.5)
        tokens_bkn = torch.zeros(b, count, n)
        real_bk = torch.zeros(b, count, dtype=torch.bool)
        for i in range(b):
            asked = describes[i].any(axis=1)
            k = int(asked.sum())
            spans = phrase_tokens(input_ids_bn[i]).float()
            boxes_bk4[i, :k] = torch.from_numpy(boxes[i][asked])
            tokens_bkn[i, :k] = (torch.from_numpy(describes[i][asked]).float() @ spans).clamp(max=1)
            real_bk[i, :k] = True
        return Targets(boxes_bk4, tokens_bkn, real_bk, input_ids_bn != 0)


def phrase_tokens(input_ids_n: Tensor) -> Tensor:
    """Bool (phrases, n): which tokens make up each phrase of a dotted prompt."""
    separator = torch.isin(input_ids_n, torch.tensor(_SEPARATORS))
    group = separator.cumsum(0) * ~separator
    return group[None] == group[~separator].unique()[:, None]


def decoder_loss(
    logits: Tensor,
    labels: Targets,
    *_: Any,
    outputs_class: Tensor,
    outputs_coord: Tensor,
    **__: Any,
) -> tuple[Tensor, dict[str, float], None]:
    """In the place of transformers' loss: the same targets on each of the l decoder layers."""
    boxes_lbq4, n = outputs_coord, labels.text_bn.shape[1]
    logits_lbqn = _mask(outputs_class[..., :n], labels.text_bn[:, None])
    with torch.no_grad():
        cost_lbqk = _cost(logits_lbqn.sigmoid(), boxes_lbq4, labels)
    layer, picture, query, item = _match(cost_lbqk.numpy(), labels.real_bk.sum(1).tolist())
    wanted = torch.zeros_like(logits_lbqn)
    wanted[layer, picture, query] = labels.tokens_bkn[picture, item]
    count = max(1, int(labels.real_bk.sum()))
    found, true = boxes_lbq4[layer, picture, query], labels.boxes_bk4[picture, item]
    classes = (_focal(logits_lbqn, wanted) * labels.text_bn[:, None]).sum() / count
    loss, report = _weigh(classes, found, true, count)
    return loss, report, None


def proposal_loss(
    logits_bqn: Tensor, boxes_bq4_logits: Tensor, targets: Targets, size_wh: tuple[int, int]
) -> tuple[Tensor, dict[str, float]]:
    """The cheapest proposals whose centre lies in an object learn its box and its phrase.

    Without it nothing teaches the first stage, and the decoder starts from noise for ever.
    """
    n = targets.text_bn.shape[1]
    logits_bqn = _mask(logits_bqn[..., :n], targets.text_bn[:, None])
    boxes_bq4 = boxes_bq4_logits.sigmoid()
    with torch.no_grad():
        cost_bqk = _cost(logits_bqn.sigmoid(), boxes_bq4, targets)
        corners = _corners(targets.boxes_bk4)[:, None]
        centre = _centres(size_wh)[None, :, None]
        inside = ((centre > corners[..., :2]) & (centre < corners[..., 2:])).all(-1)
        cost_bqk = cost_bqk + ~inside * 20.0 + ~targets.real_bk[:, None] * 1e4
        cheapest = cost_bqk.topk(_PROPOSALS_PER_OBJECT, dim=1, largest=False).indices
        chosen = torch.zeros_like(cost_bqk, dtype=torch.bool).scatter_(1, cheapest, True)
        chosen &= targets.real_bk[:, None]
        # A proposal that several objects want goes to the one it fits best.
        best_bq = cost_bqk.masked_fill(~chosen, 1e9).argmin(-1)
        picture, query = chosen.any(-1).nonzero(as_tuple=True)
        item = best_bq[picture, query]
    wanted = torch.zeros_like(logits_bqn)
    wanted[picture, query] = targets.tokens_bkn[picture, item]
    count = max(1, len(picture))
    classes = (_focal(logits_bqn, wanted) * targets.text_bn[:, None]).sum() / count
    true = targets.boxes_bk4[picture, item]
    loss, report = _weigh(classes, boxes_bq4[picture, query], true, count)
    return loss, {f"proposal_{name}": value for name, value in report.items()}


def _weigh(
    classes: Tensor, found: Tensor, true: Tensor, count: int
) -> tuple[Tensor, dict[str, float]]:
    l1 = (found - true).abs().sum() / count
    giou = (1 - _generalised_iou(_corners(found), _corners(true))).sum() / count
    report = {
        "class": float(classes.detach()),
        "l1": float(l1.detach()),
        "giou": float(giou.detach()),
    }
    return _CLASS * classes + _L1 * l1 + _GIOU * giou, report


def _mask(logits: Tensor, text: Tensor) -> Tensor:
    """transformers puts -inf on padding, which would turn into nan in the focal loss."""
    return logits.masked_fill(~text, -20.0)


def _match(cost_lbqk: np.ndarray, counts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Best one-to-one pairs of each layer and picture: indices of layer, picture, query, object."""
    pairs = [
        (layer, picture, query, item)
        for layer, cost_bqk in enumerate(cost_lbqk)
        for picture, count in enumerate(counts)
        for query, item in zip(*linear_sum_assignment(cost_bqk[picture, :, :count]), strict=True)
    ]
    index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 4)
    return index[:, 0], index[:, 1], index[:, 2], index[:, 3]


def _cost(prob_qn: Tensor, boxes_q4: Tensor, targets: Targets) -> Tensor:
    """(..., q, n) and (..., q, 4) against all objects: (..., q, k), class cost as a focal loss."""
    absent = 0.75 * prob_qn**2 * -(1 - prob_qn + 1e-8).log()
    present = 0.25 * (1 - prob_qn) ** 2 * -(prob_qn + 1e-8).log()
    share = targets.tokens_bkn / targets.tokens_bkn.sum(-1, keepdim=True).clamp(min=1)
    class_cost = (present - absent) @ share.transpose(-1, -2)
    a, b = boxes_q4[..., :, None, :], targets.boxes_bk4[:, None]
    l1 = (a - b).abs().sum(-1)
    return _CLASS * class_cost + _L1 * l1 - _GIOU * _generalised_iou(_corners(a), _corners(b))


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    prob = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    miss = 1 - (prob * wanted + (1 - prob) * (1 - wanted))
    return (0.25 * wanted + 0.75 * (1 - wanted)) * entropy * miss**2


def _corners(boxes: Tensor) -> Tensor:
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def _generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Element by element on xyxy boxes, broadcasting."""
    inner = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    overlap = inner.clamp(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1) for box in (a, b)]
    union = areas[0] + areas[1] - overlap
    hull = outer.clamp(min=0).prod(-1)
    return overlap / union.clamp(min=1e-7) - (hull - union) / hull.clamp(min=1e-7)


def _centres(size_wh: tuple[int, int]) -> Tensor:
    """Centres of all proposals, (q, 2) in fractions of the sides, finest level first."""
    levels = []
    for stride in _STRIDES:
        columns, rows = size_wh[0] // stride, size_wh[1] // stride
        y, x = torch.meshgrid(
            (torch.arange(rows) + 0.5) / rows,
            (torch.arange(columns) + 0.5) / columns,
            indexing="ij",
        )
        levels.append(torch.stack([x, y], -1).reshape(-1, 2))
    return torch.cat(levels)
