"""What moves the weights: Muon for the matrices, AdamW for all else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

_POLYNOMIAL: Final = (3.4445, -4.7750, 2.0315)  # of the quintic Newton-Schulz iteration
_ITERATIONS: Final = 5


class Muon(torch.optim.Optimizer):
    """Move each matrix along its orthogonalised momentum (Jordan et al., 2024).

    Steps have the size of AdamW's (0.2 in the root mean square, Liu et al., arXiv 2502.16982), so
    both share one learning rate. torch's own Muon computes in bfloat16, one matrix at a time: on a
    CPU without bfloat16 that takes longer than the model itself. This one stacks matrices of a
    shape and stays in float32.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            of_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    of_shape[parameter.shape].append(parameter)
            for shape, parameters in of_shape.items():
                update = orthogonalise(self._momenta(parameters, group["momentum"]))
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, list(update.unbind()), alpha=-rate)

    def _momenta(self, parameters: list[Tensor], momentum: float) -> Tensor:
        """Nesterov's momentum of parameters of one shape, (n, rows, columns)."""
        buffers = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            buffers.append(state["momentum"])
        gradients = [p.grad for p in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        return torch.stack(torch._foreach_lerp(gradients, buffers, momentum))


def orthogonalise(matrices: Tensor) -> Tensor:
    """(n, rows, columns) with all singular values brought near 1 (between about 0.7 and 1.2)."""
    a, b, c = _POLYNOMIAL
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-12)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def build_optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """One for the matrices and one for embeddings, convolutions, biases and scales."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    matrices, tensors, vectors = [], [], []
    for parameter in model.parameters():
        if parameter.ndim < 2:
            vectors.append(parameter)
        elif parameter.ndim == 2 and min(parameter.shape) > 1 and id(parameter) not in tables:
            matrices.append(parameter)
        else:
            tensors.append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": tensors, "weight_decay": 0.01},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [Muon(matrices), torch.optim.AdamW(groups, betas=(0.9, 0.98), foreach=True)]
