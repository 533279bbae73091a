"""Outputs and targets that hypothesis draws for metrics, and weights for them."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

WEIGHTS = st.one_of(st.just(0.0), st.floats(1 / 1024, 1024), st.integers(1, 5).map(float))


@st.composite
def classified(draw):
    """Outputs of a network with several classes, and class indices."""
    batch, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    y = draw(npst.arrays(np.float64, (batch, n_classes), elements=st.floats(-10, 10), unique=True))
    return y, draw(npst.arrays(np.int64, batch, elements=st.integers(0, n_classes - 1)))


@st.composite
def predicted(draw):
    """Numbers and targets, (batch,) or (batch, outputs)."""
    shape = draw(st.one_of(st.tuples(st.integers(2, 30)), st.tuples(st.integers(2, 30), st.integers(1, 4))))
    numbers = npst.arrays(np.float64, shape, elements=st.floats(-100, 100, width=32))
    return draw(numbers), draw(numbers)


def weights_of(draw, n):
    weight = draw(npst.arrays(np.float64, n, elements=WEIGHTS))
    weight[draw(st.integers(0, n - 1))] = 1  # one at least counts
    return weight


@st.composite
def weighted(draw, case):
    y, target = draw(case)
    return y, target, weights_of(draw, len(y))
