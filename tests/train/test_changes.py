"""What a callback changes is obeyed by both loops, or refused by both."""

import numpy as np
import pytest
from networks import values

import chainrule as cr

X = np.random.default_rng(0).normal(size=(40, 2))
Y = 2 * X[:, :1]
CLASSES = (X[:, 0] > 0).astype(np.int64)


def build(outputs=1):
    return cr.Sequential(
        cr.Linear(2, 8, rng=0, dtype="float64"),
        cr.LeakyReLU(0.1),
        cr.Dropout(0.5, rng=0),
        cr.Linear(8, outputs, rng=1, dtype="float64"),
    )


def trained(change, engine, *, at=1, loss=None, target=Y, outputs=1):
    """A model and its History; `change` is made after epoch `at`."""
    model, loss = build(outputs), loss() if loss else cr.MSELoss()

    def callback(run):
        if run.history.epochs == at + 1:
            change(run)

    optimizer = cr.SGD(lr=0.02, momentum=0.5)
    options = {"epochs": 5, "batch_size": 16, "optimizer": optimizer, "keep": "last", "engine": engine}
    return model, cr.fit(model, loss, (X, target), callbacks=[callback], **options)


OBEYED = {
    "nothing": lambda run: None,
    "the learning rate": lambda run: setattr(run.optimizer, "lr", 0.001),
    "a schedule": lambda run: setattr(run.optimizer, "lr", cr.ExponentialLR(0.05, 0.5, every="step")),
    "momentum": lambda run: setattr(run.optimizer, "momentum", 0.9),
    "weight decay": lambda run: setattr(run.optimizer, "weight_decay", 0.5),
    "clipping": lambda run: setattr(run.optimizer, "clip_norm", 0.01),
    "a layer's option": lambda run: setattr(run.model[1], "negative_slope", 0.9),
    "dropout": lambda run: setattr(run.model[2], "p", 0.1),
    "no dropout": lambda run: setattr(run.model[2], "p", 0),
    "the mode": lambda run: run.model.eval(),
    "another activation": lambda run: run.model.__setitem__(1, cr.Tanh()),
    "an activation more": lambda run: run.model.append(cr.Tanh()),
    "the loss": lambda run: setattr(run.loss, "reduction", "sum"),
    "the optimizer's memory": lambda run: run.optimizer.forget(),
    "a layer frozen": lambda run: run.model[0].freeze(),
    "all but a bias frozen": lambda run: run.model.freeze()[0].bias.__setattr__("trainable", True),
    "maximize": lambda run: setattr(run.optimizer, "maximize", True),
    "a constraint": lambda run: setattr(run.optimizer, "constraint", cr.constraints.MaxNorm(0.3)),
    "a group": lambda run: setattr(
        run.optimizer, "groups", cr.SGD(0.02, groups=[{"parameters": run.model[0], "lr": 0.1, "momentum": 0.9}]).groups
    ),
    "weights in place": lambda run: run.model[0].weight.value.__imul__(0.5),
    "other weights": lambda run: setattr(run.model[0].weight, "value", np.full((8, 2), 0.1)),
    "passes of its own": lambda run: run.model.train().forward(X[:3]),
    "masks from the beginning": lambda run: setattr(run.model[2].passes, "value", 0),
    "a state": lambda run: run.model.load_state_dict({k: v * 0.5 for k, v in run.model.state_dict().items()}),
}


@pytest.mark.parametrize("change", OBEYED.values(), ids=OBEYED)
def test_what_a_callback_changes_counts_from_the_next_epoch_on(change):
    (twin, expected), (model, history) = (trained(change, engine) for engine in ("python", "native"))
    np.testing.assert_allclose(history.losses, expected.losses, rtol=1e-10)
    assert history.learning_rates == pytest.approx(expected.learning_rates)
    for name, value in values(twin).items():
        np.testing.assert_allclose(values(model)[name], value, rtol=1e-10, atol=1e-13, err_msg=name)
    if change is not OBEYED["nothing"]:
        unchanged = values(trained(OBEYED["nothing"], "native")[0])
        assert any((values(model)[name] != value).any() for name, value in unchanged.items())


@pytest.mark.parametrize("change", OBEYED.values(), ids=OBEYED)
def test_what_a_callback_changes_when_a_run_begins_counts_from_the_first_epoch_on(change):
    class AtTheBeginning:
        def begin(self, run):
            change(run)

        def __call__(self, run):
            pass

    found = []
    for engine in ("python", "native"):
        model = build()
        options = {"epochs": 3, "batch_size": 16, "optimizer": cr.SGD(lr=0.02, momentum=0.5), "keep": "last"}
        history = cr.fit(model, cr.MSELoss(), (X, Y), callbacks=[AtTheBeginning()], engine=engine, **options)
        found.append((history.losses, values(model)))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-10)
    for name, value in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], value, rtol=1e-10, atol=1e-13, err_msg=name)


def test_a_mode_that_comes_back_goes_on_with_the_masks():
    def change(run):
        run.model.train(run.history.epochs % 2 == 0)

    found = []
    for engine in ("python", "native"):
        model = build()
        cr.fit(
            model, cr.MSELoss(), (X, Y), epochs=6, batch_size=16, optimizer=cr.SGD(0.02), keep="last", engine=engine,
            callbacks=[change],
        )  # fmt: skip
        found.append((values(model), model[2].passes.value))
    assert found[0][1] == found[1][1] == 9
    for name, value in found[0][0].items():
        np.testing.assert_allclose(found[1][0][name], value, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_layers_that_change_places_take_their_parameters_along(keep):
    def change(run):
        if run.history.epochs == 3:
            run.model.layers = tuple(reversed(run.model.layers))
        if run.history.epochs == 4:
            run.model.append(cr.LeakyReLU(0.1))
        if run.history.epochs == 5:  # a layer that was not there when the run began
            run.model[3].negative_slope = 0.9

    found = []
    for engine in ("python", "native"):
        linear = [cr.Linear(2, 2, rng=i, dtype="float64") for i in range(2)]
        model = cr.Sequential(linear[0], cr.Tanh(), linear[1])
        options = {"epochs": 7, "optimizer": cr.Adam(lr=0.03), "keep": keep, "callbacks": [change], "engine": engine}
        found.append((cr.fit(model, cr.MSELoss(), (X, X[:, ::-1]), **options), values(model)))
    np.testing.assert_allclose(found[1][0].losses, found[0][0].losses, rtol=1e-10)
    assert found[1][0].best_epoch == found[0][0].best_epoch
    for name, value in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], value, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.model[2].reseed(5, 0),
        lambda run: run.model.__setitem__(2, cr.Dropout(0.5, rng=1)),
        lambda run: run.model[4].eval() if run.history.epochs == 2 else run.model[4].train(),
    ],
)
def test_masks_that_the_engine_cannot_draw_are_an_error(change):
    model = cr.Sequential(*build(4), cr.Dropout(0.2, rng=2), cr.Linear(4, 1, rng=3, dtype="float64"))
    before = values(model)
    options = {"epochs": 5, "optimizer": cr.SGD(lr=0.02), "callbacks": [change]}
    with pytest.raises(ValueError, match=r'a callback changed which masks a Dropout draws.*engine="python"'):
        cr.fit(model, cr.MSELoss(), (X, Y), engine="native", **options)
    assert any((values(model)[name] != value).any() for name, value in before.items())
    cr.fit(model, cr.MSELoss(), (X, Y), engine="python", **options)


def test_weights_of_a_loss_written_in_place_count():
    def change(run):
        run.loss.weight.value[...] = [1.0, 5.0]

    def loss():
        return cr.CrossEntropyLoss(weight=np.array([1.0, 1.0]))

    found = [trained(change, engine, loss=loss, target=CLASSES, outputs=2) for engine in ("python", "native")]
    np.testing.assert_allclose(found[1][1].losses, found[0][1].losses, rtol=1e-10)
    assert (
        found[0][1].losses[-1]
        != trained(lambda run: None, "native", loss=loss, target=CLASSES, outputs=2)[1].losses[-1]
    )


REFUSED = {
    "a Parameter replaced": lambda run: setattr(run.model[0], "bias", cr.Parameter(np.zeros(8))),
    "a bias removed": lambda run: setattr(run.model[0], "bias", None),
    "a Linear appended": lambda run: run.model.append(cr.Linear(1, 1, rng=2, dtype="float64")),
    "a Linear replaced": lambda run: run.model.__setitem__(0, cr.Linear(2, 8, rng=5, dtype="float64")),
}


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_other_parameters_than_the_run_began_with_are_refused(change, engine):
    with pytest.raises(ValueError, match=r"fit: the model had 4 Parameters when the run began, .* call fit again"):
        trained(change, engine)


def test_what_the_engine_does_not_know_is_refused_by_name():
    class Mine(cr.Tanh):
        pass

    with pytest.raises(
        ValueError, match=r'fit: a callback changed the model, .* does not know Mine; engine="python" does'
    ):
        trained(lambda run: run.model.append(Mine()), "native")


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: cr.Adam(0.01), "amsgrad", True),
        (lambda: cr.RMSprop(0.01), "centered", True),
        (lambda: cr.RMSprop(0.01), "momentum", 0.9),
        (lambda: cr.SGD(0.01), "momentum", 0.9),
    ],
)
def test_an_option_that_asks_for_more_to_be_remembered_begins_with_that_alone(make, name, value):
    def change(run):
        on = run.history.epochs in (2, 3, 6)
        setattr(run.optimizer, name, value if on else type(value)(0))

    found = []
    for engine in ("python", "native"):
        model, optimizer = build(), make()
        options = {"epochs": 8, "batch_size": 16, "optimizer": optimizer, "keep": "last", "engine": engine}
        history = cr.fit(model, cr.MSELoss(), (X, Y), callbacks=[change], **options)
        optimizer.load_state_dict(model.param(), optimizer.state_dict(model.param()))  # which misses nothing
        found.append((history.losses, values(model)))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-10)
    for parameter, expected in found[0][1].items():
        np.testing.assert_allclose(found[1][1][parameter], expected, rtol=1e-10, atol=1e-13, err_msg=parameter)


def test_the_state_after_an_option_was_set_and_before_the_next_step_is_whole():
    optimizer, layer = cr.Adam(), cr.Linear(2, 2)
    optimizer.step(layer.param())
    optimizer.amsgrad = True
    state = optimizer.state_dict(layer.param())
    assert not state["parameters"][0]["max_exp_avg_sq"].any()
    cr.Adam(amsgrad=True).load_state_dict(layer.param(), state)


@pytest.mark.parametrize("around", [lambda optimizer: optimizer, cr.Lookahead])
def test_an_option_may_be_set_after_the_state_was_read(around):
    def change(run):
        if run.history.epochs == 2:
            run.optimizer.state_dict(run.model.param())
            run.optimizer.amsgrad = True  # with one array more

    found = []
    for engine in ("python", "native"):
        model = build()
        options = {"epochs": 5, "batch_size": 16, "optimizer": around(cr.Adam()), "engine": engine}
        found.append(cr.fit(model, cr.MSELoss(), (X, Y), callbacks=[change], **options).losses)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10)
