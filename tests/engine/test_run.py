"""A plan, run once. (That `evaluate` and `predict` agree with the model is tested in train/test_evaluate.py.)"""

import numpy as np
from networks import small_network

import chainrule as cr
from chainrule.engine.run import outputs

X = np.random.default_rng(0).normal(size=(300, 2))


def test_outputs_are_those_of_the_model_in_evaluation_mode():
    model = cr.Sequential(small_network(), cr.Dropout(0.5, rng=0)).train()
    np.testing.assert_allclose(outputs(model, X), model(X), rtol=1e-12, atol=1e-14)


def test_what_the_engine_does_not_know_has_no_outputs():
    class Own(cr.Tanh):
        pass

    assert outputs(cr.Sequential(small_network(), Own()), X) is None
    assert outputs(small_network(), X.tolist()) is None
    assert outputs(small_network(), X.astype("float32")) is None
