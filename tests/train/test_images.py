"""Networks of images in the doors of training: resumed, and many at once."""

import numpy as np

import chainrule as cr

RNG = np.random.default_rng(0)
DATA = cr.Dataset(RNG.normal(size=(60, 2, 8, 8)).astype("float32"), RNG.integers(3, size=60))


def network(lr: float = 0.01) -> cr.Sequential:
    rng = np.random.default_rng(0)
    return cr.Sequential(
        cr.Adam(lr=lr),
        cr.Conv2d(2, 4, 3, padding=1, rng=rng),
        cr.ReLU(),
        cr.MaxPool2d(2),
        cr.Conv2d(4, 6, 3, groups=2, rng=rng),
        cr.Dropout(0.2),
        cr.Flatten(),
        cr.Linear(24, 3, rng=rng),
    )


def same(found: cr.Module, expected: cr.Module) -> bool:
    other = expected.state_dict()
    return all(np.array_equal(value, other[name]) for name, value in found.state_dict().items())


def test_what_is_resumed_has_the_bits_of_the_uninterrupted_run(tmp_path):
    whole, model = network(), network()
    history = cr.fit(whole, cr.CrossEntropyLoss(), DATA, epochs=5, keep="last")
    cr.fit(model, cr.CrossEntropyLoss(), DATA, epochs=2, keep="last", checkpoint=tmp_path)
    model = network()
    resumed = cr.fit(model, cr.CrossEntropyLoss(), DATA, epochs=5, keep="last", checkpoint=tmp_path, resume=True)
    assert resumed.losses == history.losses
    assert same(model, whole)


def test_many_networks_are_those_of_fit():
    found = cr.fit_many(network, cr.CrossEntropyLoss(), DATA, grid={"lr": [0.01, 0.003]}, epochs=2, keep="last")
    assert sorted(result.configuration["lr"] for result in found) == [0.003, 0.01]
    for result in found:
        model = network(**result.configuration)
        cr.fit(model, cr.CrossEntropyLoss(), DATA, epochs=2, keep="last", seed=0)
        assert same(result.model, model)
