"""The transpose of a convolution: what its backward pass does to dy, as a layer of its own."""

from typing import Any

import numpy as np

from ...arrays import Array, namespace
from ...initializers import Initializer
from ..windows import Amounts, Lengths, crop, each_axis, pad
from .columns import add_columns, as_matrix, as_signal, columns
from .filters import Filters, add_product


class _ConvTranspose(Filters):
    """Put a filter, times x, wherever a convolution would look, and add up where they overlap.

    Equation  y[b, o, *(stride p + dilation k - padding)] += weight[c, o, *k] x[b, c, *p], from bias[o] on, over all
              places p of x, the channels c of o's group and the taps k; what falls outside of y is lost.
              As a product: columns(y) = Wᵀ X, added to where the windows are;  dX = W dY, dW = X dYᵀ, db = Σ dy, with
              dY = columns(dy): forward and backward of a convolution with their places changed
              (docs/derivations/convolution.md)
    Shapes    x (batch, in_channels, *lengths) -> y (batch, out_channels, *out),
              out = (length - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1;
              weight (in_channels, out_channels / groups, *kernel_size), bias (out_channels,)
    Saves     x
    Source    Zeiler, Krishnan, Taylor, Fergus 2010, "Deconvolutional networks"; Dumoulin, Visin 2016, "A guide to
              convolution arithmetic for deep learning", chapter 4; initial values as in PyTorch: uniform on ±1/√n for
              n = out_channels / groups · taps
    Note      output_padding alone says how long y is; PyTorch's forward takes an output_size, too

    Parameters
    ----------
    in_channels, out_channels : how many numbers there are at each place of x and of y.
    kernel_size, stride, dilation : an integer for all axes, or one for each: how much of y each x reaches, how far
        apart in y two neighbours of x are, and how far apart the places are that one x reaches.
    padding : how much of y is cut off on both sides of each axis.
    output_padding : how much longer y is behind, for a convolution with a stride makes the same length of several; less
        than stride or dilation.
    groups : the channels in so many groups, each of which reaches its own channels of y only.
    bias : True, False (none), an array to start from, or a Parameter to share.
    padding_mode : "zeros", as in PyTorch, which knows no other here.
    weight : an array to start from, of which a copy is kept, or a Parameter to share.
    init : a function of `chainrule.initializers`, for the weight as a matrix (in_channels, n); the bias then starts
        from zero.
    dtype : of weight and bias if neither is given: float32 like PyTorch, float64 or float16.
    rng : a generator or a seed for the initial values; by default the one that `chainrule.seed` sets.

    Raises ValueError for arguments and given values that do not fit, and in `forward` and `backward` for x and dy of
    the wrong shape, or if nothing of y were left; TypeError for another dtype or library.
    """

    padding: Lengths

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Lengths,
        stride: int | Lengths = 1,
        padding: int | Lengths = 0,
        output_padding: int | Lengths = 0,
        groups: int = 1,
        bias: Any = True,
        dilation: int | Lengths = 1,
        padding_mode: str = "zeros",
        *,
        weight: Any = None,
        init: Initializer | None = None,
        dtype: Any = None,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self._take(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.padding = each_axis(self, "padding", padding, self.axes, least=0)
        self.output_padding = each_axis(self, "output_padding", output_padding, self.axes, least=0)
        for more, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if more >= max(s, d):
                raise ValueError(
                    f"{type(self).__name__}: output_padding must be less than stride or dilation, got "
                    f"output_padding={self.output_padding} for stride={self.stride} and dilation={self.dilation}"
                )
        if not isinstance(padding_mode, str) or padding_mode != "zeros":
            raise ValueError(f'{type(self).__name__}: padding_mode must be "zeros", got {padding_mode!r}')
        self.padding_mode = "zeros"
        self._draw((self.in_channels, self.out_channels // self.groups), weight, bias, init, dtype, rng)

    @property
    def _amounts(self) -> Amounts:
        """How much is cut off in front of each axis and behind it."""
        return tuple((n, n) for n in self.padding)

    def _reached(self, lengths: Lengths) -> Lengths:
        """How much of each axis x of these lengths reaches, before any of it is cut off."""
        axes = zip(lengths, self.kernel_size, self.stride, self.dilation, strict=True)
        return tuple((n - 1) * s + d * (k - 1) + 1 for n, k, s, d in axes)

    def _out(self, lengths: Lengths) -> Lengths:
        """The lengths of y, for x of these lengths."""
        axes = zip(self._reached(lengths), self.padding, self.output_padding, strict=True)
        return tuple(n - 2 * cut + more for n, cut, more in axes)

    def forward(self, x: Array) -> tuple[Array, Array]:
        xp, lengths = self._check(x), tuple(x.shape[2:])
        if min(out := self._out(lengths)) < 1:
            self.refuse_shape(f"must be so long that something is left of y, and not {out}", x, one_sample=False)
        whole = tuple(n + more for n, more in zip(self._reached(lengths), self.output_padding, strict=True))
        y = xp.zeros((x.shape[0], self.out_channels, *whole), dtype=x.dtype, device=x.device)
        y_columns = xp.matmul(xp.matrix_transpose(self._matrix()), as_matrix(x, self.groups))
        add_columns(y, y_columns, self.kernel_size, self.stride, self.dilation, lengths)
        y = crop(y, self._amounts)
        if self.bias is not None:
            y += self.bias.value.reshape((-1, *(1,) * self.axes))
        return y, x

    def backward(self, dy: Array, x: Array) -> Array:
        dcolumns = self._gather(dy, x)
        return as_signal(namespace(dy).matmul(self._matrix(), dcolumns), x.shape[0], tuple(x.shape[2:]))

    def backward_parameters(self, dy: Array, x: Array) -> None:
        self._gather(dy, x)

    def _gather(self, dy: Array, x: Array) -> Array:
        """Add the gradients of the parameters, and return what each x has reached of dy, as columns."""
        lengths = tuple(x.shape[2:])
        self._check_gradient(dy, x.shape[0], self._out(lengths))
        xp, reached = namespace(dy), (..., *map(slice, self._reached(lengths)))  # without output_padding
        whole = pad(dy, self._amounts)
        dcolumns = columns(whole[reached], self.kernel_size, self.stride, self.dilation, self.groups)
        add_product(self.weight, lambda: xp.matmul(as_matrix(x, self.groups), xp.matrix_transpose(dcolumns)))
        add_product(self.bias, lambda: xp.sum(dy, axis=(0, *range(2, dy.ndim))))
        return dcolumns


class ConvTranspose1d(_ConvTranspose):
    """Spread a series out by filters: x (batch, in_channels, length)."""

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """Spread images out by filters: x (batch, in_channels, height, width)."""

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """Spread volumes out by filters: x (batch, in_channels, depth, height, width)."""

    axes = 3
