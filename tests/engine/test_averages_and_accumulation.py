"""Steps of several batches and averages of weights on the engine, against the Python loop, which specifies them."""

import numpy as np
import pytest
from engine.drawn import Training, allowed, made, ruled_trainings
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

import chainrule as cr

RTOL = 1e-10  # the design's promise for float64 after 50 steps
CHAOS = 5e-10  # where rounding alone may move more than this share of the numbers, equality says nothing

AVERAGES = st.one_of(
    st.none(),
    st.builds(cr.EMA, st.sampled_from([0.0, 0.5, 0.9, 1.0])),
    st.builds(cr.SWA, st.integers(0, 3), st.integers(1, 3), st.sampled_from(["epoch", "step"])),
)


@pytest.mark.filterwarnings("ignore:.*has taken in no weights")  # an average may begin behind the end here
@settings(max_examples=80)
@given(ruled_trainings(), st.integers(1, 4), AVERAGES, st.sampled_from(["best", "last"]))
def test_a_run_is_that_of_the_python_loop(training: Training, accumulate, average, keep):
    data = training.data(training.rows, training.seed + 1, training.task.weights, "float64")
    y = np.zeros((training.rows, training.network.n_out))
    assume(made(training.task.loss).total_weight(y, data.target, data.sample_weight) > 0)  # else `fit` refuses the data
    how = {"accumulate": accumulate, "average": average, "keep": keep}
    expected = training.run("python", **how)
    floors = allowed(training, expected, np.finfo(np.float64).eps, **how)
    shares = [
        floors[name] / np.max(np.abs(a)) for name, a in expected.items() if name.startswith("parameter") and a.any()
    ]
    assume(max(shares, default=0.0) < CHAOS)
    event(f"{type(average).__name__}, {accumulate} batches")
    found = training.run("native", **how)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=RTOL, atol=floors[name], err_msg=name)
