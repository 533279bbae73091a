"""Convolution: the same few weights at every place of a series, an image or a volume."""

from typing import Any

import numpy as np

from ...arguments import choice
from ...arrays import Array, namespace
from ...initializers import Initializer
from ..padding import check_room, padded, unpadded
from ..windows import Amounts, Lengths, each_axis, out_length
from .columns import add_columns, as_matrix, as_signal, columns
from .filters import Filters, add_product

MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Filters):
    """Slide filters over a signal: each y is the sum of what a filter sees, times its weights.

    Equation  y[b, o, *p] = bias[o] + Σ_{c, k} weight[o, c, *k] x[b, c, *(stride p + dilation k - padding)], over the
              channels c of o's group and the taps k; x is 0 outside, or what padding_mode says.
              As a product, with X = columns(x): Y = W X + b;  dW = dY Xᵀ, db = Σ dY, dX = Wᵀ dY, which is added back
              to where its windows were (docs/derivations/convolution.md)
    Shapes    x (batch, in_channels, *lengths) -> y (batch, out_channels, *out),
              out = ⌊(length + 2 padding - dilation (kernel_size - 1) - 1) / stride⌋ + 1;
              weight (out_channels, in_channels / groups, *kernel_size), bias (out_channels,)
    Saves     x with its padding
    Source    LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", II.A;
              as a product of matrices: Chellapilla, Puri, Simard 2006; initial values as in PyTorch: uniform on
              ±1/√n_in, n_in = in_channels / groups · taps

    Parameters
    ----------
    in_channels, out_channels : how many numbers there are at each place of x and of y.
    kernel_size, stride, dilation : an integer for all axes, or one for each: how far a filter sees, how far it moves
        from one y to the next, and how far apart the places are that it looks at.
    padding : how much is added on both sides of each axis; "valid" is none, and "same" as much as makes y as long as x
        (of an odd number the larger part behind it), for stride 1.
    groups : the channels in so many groups, each of which sees its own channels of x only.
    bias : True, False (none), an array to start from, or a Parameter to share.
    padding_mode : what is added: "zeros", "reflect" (mirrored at the outermost place), "replicate" (the outermost place
        again) or "circular" (what lies at the other end).
    weight : an array to start from, of which a copy is kept, or a Parameter to share.
    init : a function of `chainrule.initializers`, for the weight as a matrix (out_channels, n_in); the bias then starts
        from zero.
    dtype : of weight and bias if neither is given: float32 like PyTorch, float64 or float16.
    rng : a generator or a seed for the initial values; by default the one that `chainrule.seed` sets.

    Raises ValueError for arguments and given values that do not fit, and in `forward` and `backward` for x and dy of
    the wrong shape, or an x in which the kernel has no room; TypeError for another dtype or library.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Lengths,
        stride: int | Lengths = 1,
        padding: int | Lengths | str = 0,
        dilation: int | Lengths = 1,
        groups: int = 1,
        bias: Any = True,
        padding_mode: str = "zeros",
        *,
        weight: Any = None,
        init: Initializer | None = None,
        dtype: Any = None,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self._take(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.padding_mode = choice(self, "padding_mode", padding_mode, MODES)
        if isinstance(padding, str):
            self.padding: Lengths | str = choice(self, "padding", padding, ("same", "valid"))
            if padding == "same" and set(self.stride) != {1}:
                raise ValueError(f'{type(self).__name__}: padding="same" is for stride 1, got stride={self.stride}')
        else:
            self.padding = each_axis(self, "padding", padding, self.axes, least=0)
        self._draw((self.out_channels, self.in_channels // self.groups), weight, bias, init, dtype, rng)

    @property
    def _mode(self) -> str:
        """What layers/padding.py calls the padding_mode."""
        return "constant" if self.padding_mode == "zeros" else self.padding_mode

    @property
    def _amounts(self) -> Amounts:
        """How much is added in front of each axis and behind it."""
        if not isinstance(self.padding, str):
            return tuple((n, n) for n in self.padding)
        more = [d * (k - 1) * (self.padding == "same") for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        return tuple((n // 2, n - n // 2) for n in more)

    def _out(self, lengths: Lengths) -> Lengths:
        """The lengths of y, for those of x with its padding."""
        axes = zip(lengths, self.kernel_size, self.stride, self.dilation, strict=True)
        return tuple(out_length(n, k, s, 0, d) for n, k, s, d in axes)

    def _columns(self, x_padded: Array) -> Array:
        return columns(x_padded, self.kernel_size, self.stride, self.dilation, self.groups)

    def forward(self, x: Array) -> tuple[Array, Array]:
        xp = self._check(x)
        check_room(self, x, self._amounts, self._mode)
        x_padded = padded(x, self._amounts, self._mode)
        out = self._out(x_padded.shape[2:])
        if min(out) < 1:
            reach = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))
            self.refuse_shape(f"with its padding must have room for a kernel that reaches {reach}", x, one_sample=False)
        y = xp.matmul(self._matrix(), self._columns(x_padded))
        if self.bias is not None:
            y += self.bias.value.reshape((self.groups, -1, 1))
        return as_signal(y, x.shape[0], out), x_padded

    def backward(self, dy: Array, x_padded: Array) -> Array:
        dy_matrix, xp = self._gather(dy, x_padded), namespace(dy)
        dcolumns = xp.matmul(xp.matrix_transpose(self._matrix()), dy_matrix)
        dx = xp.zeros(x_padded.shape, dtype=dy.dtype, device=dy.device)
        add_columns(dx, dcolumns, self.kernel_size, self.stride, self.dilation, tuple(dy.shape[2:]))
        return unpadded(dx, self._amounts, self._mode)

    def backward_parameters(self, dy: Array, x_padded: Array) -> None:
        self._gather(dy, x_padded)

    def _gather(self, dy: Array, x_padded: Array) -> Array:
        """Add the gradients of the parameters, and return dy as a matrix for each group."""
        self._check_gradient(dy, x_padded.shape[0], self._out(x_padded.shape[2:]))
        xp, dy_matrix = namespace(dy), as_matrix(dy, self.groups)
        add_product(self.weight, lambda: xp.matmul(dy_matrix, xp.matrix_transpose(self._columns(x_padded))))
        add_product(self.bias, lambda: xp.sum(dy_matrix, axis=-1))  # the bias reaches every place
        return dy_matrix


class Conv1d(_Conv):
    """Slide filters over a series: x (batch, in_channels, length)."""

    axes = 1


class Conv2d(_Conv):
    """Slide filters over images: x (batch, in_channels, height, width)."""

    axes = 2


class Conv3d(_Conv):
    """Slide filters over volumes: x (batch, in_channels, depth, height, width)."""

    axes = 3
