import numpy as np
import pytest

import chainrule as cr
from chainrule.tables.network import ACTIVATIONS, batch_size_for, build_network

DEFAULTS = {"hidden": (5, 4), "activation": "gelu", "dropout": 0.1, "lr": 0.01, "weight_decay": 0.02, "seed": 0}


def test_the_network_is_what_was_asked_for():
    network = build_network(3, 2, **DEFAULTS)
    assert [type(layer).__name__ for layer in network] == ["Linear", "GELU", "Dropout"] * 2 + ["Linear"]
    assert [layer.weight.shape for layer in network if isinstance(layer, cr.Linear)] == [(5, 3), (4, 5), (2, 4)]
    assert repr(network.optimizer) == "AdamW(lr=0.01, weight_decay=0.02)"
    assert len(build_network(3, 2, **DEFAULTS | {"hidden": (), "dropout": 0})) == 1


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    cr.seed(5)
    expected = cr.Linear(2, 2).weight.value
    cr.seed(5)
    first, same, other = (build_network(3, 2, **DEFAULTS | {"seed": seed}) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0].weight.value, same[0].weight.value)
    assert (first[0].weight.value != other[0].weight.value).any()
    np.testing.assert_array_equal(cr.Linear(2, 2).weight.value, expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_engine_knows_every_activation(name):
    network = build_network(3, 1, **DEFAULTS | {"activation": name})
    x = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    history = cr.fit(network, cr.MSELoss(), (x, x[:, :1]), epochs=1, engine="native")
    assert history.engine.startswith("native")


def test_batches_make_about_fifty_steps_of_an_epoch():
    assert [batch_size_for(n) for n in (1, 100, 900, 5_000, 30_000, 10**6)] == [16, 16, 32, 128, 1024, 1024]
