"""Muon."""

import math
from collections.abc import Sequence
from typing import Any

from ..arguments import choice, flag, number, several, whole
from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .adam import AdamW
from .groups import Groups, grouped
from .optimizer import Kept, Optimizer
from .schedules import Schedule


class Muon(Optimizer):
    """Steps of matrices that turn all directions equally: momentum, made nearly orthogonal. The rest goes to AdamW.

    Equation  of a Parameter with two axes (n, m), and what `orthogonal` gives of a matrix:
              b ← momentum · b + (1 - momentum) grad,  u = momentum · b + (1 - momentum) grad with nesterov, else u = b
              w ← w (1 - lr · weight_decay) - lr · a · orthogonal(u)
              a = √max(1, n / m) for adjust_lr_fn None or "original", 0.2 √max(n, m) for "match_rms_adamw"
              all others: AdamW's step with lr · adamw_lr_ratio, adamw_betas, adamw_eps and adamw_weight_decay
    Keeps     b ("momentum_buffer"); of all others what AdamW keeps
    Source    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; "match_rms_adamw": Liu et
              al. 2025, "Muon is scalable for LLM training", section 2.2
    Note      PyTorch's takes matrices alone, and one makes an AdamW for the rest oneself. It makes them orthogonal in
              bfloat16, of three digits; here it is done in the parameter's own dtype. Jordan et al. leave the last
              layer and embeddings to AdamW; here all matrices are equal, as they are in PyTorch

    Parameters
    ----------
    lr : the learning rate, a number or a schedule.
    weight_decay, eps : numbers of at least 0.
    momentum : at least 0 and below 1.
    nesterov : look ahead.
    ns_coefficients, ns_steps : of `orthogonal`; from 0 to 99 steps.
    adjust_lr_fn : "original" (None means it too) or "match_rms_adamw", with which lr and weight_decay can be AdamW's.
    adamw_lr_ratio, adamw_betas, adamw_eps, adamw_weight_decay : for what is no matrix.
    clip_norm, clip_value, decay_biases, maximize, constraint, groups : see Optimizer.
    """

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        adamw_lr_ratio: float = 1.0,
        adamw_betas: tuple[float, float] = (0.9, 0.999),
        adamw_eps: float = 1e-8,
        adamw_weight_decay: float = 1e-2,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay_biases: bool = True,
        maximize: bool = False,
        constraint: Constraint | Sequence[Constraint] | None = None,
        groups: Groups = (),
    ) -> None:
        super().__init__(
            lr,
            clip_norm=clip_norm,
            clip_value=clip_value,
            decay_biases=decay_biases,
            maximize=maximize,
            constraint=constraint,
        )
        self.weight_decay = number(self, "weight_decay", weight_decay, least=0)
        self.momentum = number(self, "momentum", momentum, least=0, below=1)
        self.nesterov = flag(self, "nesterov", nesterov)
        self.ns_coefficients = several(self, "ns_coefficients", ns_coefficients, 3)
        self.eps = number(self, "eps", eps, least=0)
        self.ns_steps = whole(self, "ns_steps", ns_steps, least=0)
        if self.ns_steps > 99:
            raise ValueError(f"Muon: ns_steps must be at most 99, got {ns_steps}")
        known = ("original", "match_rms_adamw")
        self.adjust_lr_fn = adjust_lr_fn if adjust_lr_fn is None else choice(self, "adjust_lr_fn", adjust_lr_fn, known)
        self.adamw_lr_ratio = number(self, "adamw_lr_ratio", adamw_lr_ratio, least=0)
        self.adamw_betas = several(self, "adamw_betas", adamw_betas, 2, least=0, below=1)
        self.adamw_eps = number(self, "adamw_eps", adamw_eps, least=0)
        self.adamw_weight_decay = number(self, "adamw_weight_decay", adamw_weight_decay, least=0)
        self.groups = grouped(self, groups)

    def adamw(self) -> AdamW:
        """The rule of what is no matrix."""
        beta1, beta2 = self.adamw_betas
        return AdamW(
            betas=(beta1, beta2),
            eps=self.adamw_eps,
            weight_decay=self.adamw_weight_decay,
            decay_biases=self.decay_biases,
            maximize=self.maximize,
        )

    def decay_of(self, parameter: Parameter) -> float:
        return super().decay_of(parameter) if parameter.value.ndim == 2 else self.adamw().decay_of(parameter)

    def kept(self, shape: tuple[int, ...]) -> Kept:
        return Kept({"momentum_buffer": shape}, counts=False) if len(shape) == 2 else self.adamw().kept(shape)

    def begin(self, value: Any) -> dict[str, Any]:
        if value.ndim != 2:
            return self.adamw().begin(value)
        return {"momentum_buffer": namespace(value).zeros_like(value)}

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        w, g = parameter.value, self.gradient(parameter)
        if w.ndim != 2:
            self.adamw().update(parameter, state, lr * self.adamw_lr_ratio)
            return
        if not state:
            state |= self.begin(w)
        b = state["momentum_buffer"]
        b *= self.momentum
        b += (1 - self.momentum) * g
        u = self.momentum * b + (1 - self.momentum) * g if self.nesterov else b
        w *= 1 - lr * self.decay_of(parameter)
        w -= (lr * self.adjustment(*w.shape)) * orthogonal(u, self.ns_coefficients, self.ns_steps, self.eps)

    def adjustment(self, n: int, m: int) -> float:
        """By what the learning rate of a matrix (n, m) is multiplied."""
        return 0.2 * math.sqrt(max(n, m)) if self.adjust_lr_fn == "match_rms_adamw" else math.sqrt(max(1, n / m))


def orthogonal(matrix: Any, coefficients: tuple[float, ...], steps: int, eps: float) -> Any:
    """Nearly U Vᵀ of a matrix U S Vᵀ, by products alone: its singular values all come to about 1.

    Equation  x = matrix / max(‖matrix‖, eps);  in each step x ← a x + (b x xᵀ + c (x xᵀ)²) x
    Source    Jordan et al. 2024: with the default coefficients singular values come to 0.7 … 1.2 in five steps
    """
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]  # then the product of its columns is the smaller one
    x = matrix.T if tall else matrix
    x = x / max(math.sqrt(float((x * x).sum())), eps)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.T if tall else x
