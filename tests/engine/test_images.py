"""Series, images and volumes on the engine, against the Python loop and the layers, which are their specification."""

import numpy as np
import pytest
from cases import CONVOLUTIONS, SPATIAL
from engine.drawn import allowed
from engine.drawn_images import ImageTraining, image_trainings, images
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from networks import bits

import chainrule as cr
from chainrule.engine import CannotLower, lower
from chainrule.engine.lower import sample_shape
from chainrule.engine.rules.rule import known_kinds

RTOL = 1e-10  # the design's promise for float64 after 50 steps
CHAOS = 5e-10  # where rounding alone may move more than this share of the numbers, equality says nothing
REFUSED = ("ConvTranspose1d(…, 2, 3, stride=3, padding=1, output_padding=2, groups=2, bias=False)",)
CASES = [case for case in CONVOLUTIONS + SPATIAL if case.kind in known_kinds() and case.label not in REFUSED]
rng = np.random.default_rng(0)
X = rng.normal(size=(70, 2, 10, 9))
CLASSES = (X[:, 0].mean(axis=(1, 2)) > X[:, 1, 3:6, 2:5].mean(axis=(1, 2))).astype("int64")


def assert_near(found, expected):
    np.testing.assert_allclose(
        found, expected, rtol=1e-9, atol=1e-11 * max(1.0, float(np.max(np.abs(expected), initial=0)))
    )


def network(dtype="float64", *optimizer, seed=0):
    """A little of everything: samples so large that 16 of them fill the cache in which a batch passes."""
    draw = np.random.default_rng(seed)
    weighted = {"dtype": dtype, "rng": draw}
    return cr.Sequential(
        *optimizer,
        cr.Conv2d(2, 12, 3, padding="same", padding_mode="reflect", **weighted),
        cr.ReLU(),
        cr.Residual(cr.Sequential(cr.Conv2d(12, 12, 3, padding=1, groups=12, **weighted), cr.Tanh())),
        cr.MaxPool2d(2, ceil_mode=True),
        cr.Dropout(0.2, rng=0),
        cr.Conv2d(12, 20, (3, 2), stride=(1, 2), bias=False, **weighted),
        cr.ReLU(),
        cr.AvgPool2d((1, 2)),
        cr.Flatten(),
        cr.Linear(60, 2, **weighted),
    )


def train(engine, dtype="float64", model=None, **how):
    model = network(dtype) if model is None else model
    options = {"epochs": 4, "batch_size": 40, "optimizer": cr.SGD(lr=0.05, momentum=0.5), "seed": 1, "keep": "last"}
    history = cr.fit(model, cr.CrossEntropyLoss(), (X.astype(dtype), CLASSES), engine=engine, **options | how)
    assert history.engine.split(",")[0] == engine
    return model, history


# -- the same numbers


@settings(max_examples=60)
@given(image_trainings(), st.sampled_from([1, 2]))
def test_parameters_losses_and_state_are_those_of_the_python_loop(training: ImageTraining, threads: int):
    expected = training.run("python")
    floors = allowed(training, expected, np.finfo(np.float64).eps)
    shares = [
        floors[name] / np.max(np.abs(a)) for name, a in expected.items() if name.startswith("parameter") and a.any()
    ]
    assume(max(shares, default=0.0) < CHAOS)
    event(f"{len(training.network.shape) - 1} axes")
    found = training.run("native", threads=threads)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=RTOL, atol=floors[name], err_msg=name)


@settings(max_examples=150)
@given(images(dropout=False), st.integers(0, 100), st.integers(1, 20), st.sampled_from([0, 1, 30]))
def test_a_compiled_network_of_images_does_what_the_model_does(drawn, seed, rows, more):
    model = drawn.build("float64", seed)
    rng = np.random.default_rng(seed)
    compare(model, rng.normal(size=(rows, *drawn.shape)), rng, rows + more)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
@pytest.mark.parametrize("rows", [1, 3])
def test_every_layer_alone_does_what_it_does_in_python(case, rows):
    for _, *shape in case.fixed:
        layer, x = case.build((rows, *shape)).double(), rng.normal(size=(rows, *shape))
        size = layer.forward(x)[0][0].size
        compare(cr.Sequential(layer, cr.Flatten(), cr.Linear(size, 2, rng=0, dtype="float64")), x, rng, rows)


def compare(model, x, rng, batch_size):
    """The compiled network and the model: y, dx, and what backward adds to the parameters' gradients."""
    compiled = cr.compile(model, batch_size=batch_size, sample_shape=x.shape[1:])
    y, saved = model.forward(x)
    assert_near(compiled.predict(x), y)
    assert_near(compiled.predict(x[0]), y[0])
    assert_near(compiled.forward(x), y)
    dy = rng.normal(size=y.shape)
    model.zero_grad()
    dx = model.backward(dy, saved)
    expected = [parameter.grad.copy() for parameter in model.param()]
    model.zero_grad()
    assert_near(compiled.backward(dy), dx)
    for parameter, gradient in zip(model.param(), expected, strict=True):
        assert_near(parameter.grad, gradient)


@pytest.mark.parametrize("optimizer", [cr.SGD(lr=0.05), cr.Adam(lr=0.01), cr.AdamW(lr=0.01, amsgrad=True)])
def test_both_loops_train_the_same_network_where_batches_are_cut(optimizer):
    expected, history = train("python", optimizer=optimizer)
    found, other = train("native", optimizer=optimizer)
    np.testing.assert_allclose(other.losses, history.losses, rtol=RTOL)
    for one, two in zip(found.param(), expected.param(), strict=True):
        np.testing.assert_allclose(one.value, two.value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("constraint", ["MaxNorm(0.5)", "UnitNorm()", "L1(0.05)", "NonNegative()"])
def test_constraints_see_a_kernel_as_python_does(constraint):
    optimizer = cr.Adam(lr=0.01, constraint=eval(constraint, vars(cr.constraints)))
    expected, found = (train(engine, optimizer=optimizer)[0] for engine in ("python", "native"))
    for one, two in zip(found.param(), expected.param(), strict=True):
        np.testing.assert_allclose(one.value, two.value, rtol=1e-9, atol=1e-12)


# -- the same bits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 33, 70])
def test_any_number_of_threads_gives_the_same_bits(dtype, batch_size):
    alone, history = train("native", dtype, batch_size=batch_size, threads=1)
    for threads in (2, 3):
        shared, other = train("native", dtype, batch_size=batch_size, threads=threads)
        assert bits(shared) == bits(alone)
        assert other.losses == history.losses


def test_a_run_that_goes_on_from_its_checkpoint_ends_with_the_bits_of_one_that_was_not_cut(tmp_path):
    whole, history = train("native", "float32", epochs=6, optimizer=cr.Adam(lr=0.01))
    for epochs in (2, 6):
        model, resumed = train(
            "native", "float32", epochs=epochs, optimizer=cr.Adam(lr=0.01), checkpoint=tmp_path / "run", resume=True
        )
    assert bits(model) == bits(whole)
    assert resumed.losses == history.losses
    assert bits(cr.load(tmp_path / "run" / "checkpoint.safetensors")) == bits(whole)


def test_many_networks_of_images_end_with_the_bits_that_each_gets_alone():
    how = {"epochs": 3, "batch_size": 40, "optimizer": cr.Adam(lr=0.01), "keep": "last"}
    data = (X.astype("float32"), CLASSES)

    def build(seed):
        return network("float32", seed=seed)

    results = cr.fit_many(build, cr.CrossEntropyLoss(), data, seeds=3, threads=2, **how)
    for seed, result in enumerate(results):
        cr.seed(seed)
        alone = build(seed)
        cr.fit(alone, cr.CrossEntropyLoss(), data, seed=seed, engine="native", **how)
        assert bits(result.model) == bits(alone)


# -- fit, evaluate and predict


def test_a_network_of_images_learns_and_is_evaluated_as_it_predicts():
    model, history = train("native", "float32", epochs=40, optimizer=cr.Adam(lr=0.01), metrics=[cr.metrics.accuracy])
    assert history.losses[-1] < 0.5 * history.losses[0]
    x = X.astype("float32")
    y = cr.predict(model, x)
    result = cr.evaluate(model, cr.CrossEntropyLoss(), (x, CLASSES))
    assert result.accuracy == np.mean(y.argmax(axis=1) == CLASSES) > 0.8
    compiled = cr.compile(model, batch_size=7, sample_shape=x.shape[1:])
    np.testing.assert_allclose(compiled.predict(x), y, rtol=1e-4, atol=1e-5)


def test_steps_of_a_compiled_network_are_those_of_fit():
    model = network("float64")
    for layer in model.modules():
        if isinstance(layer, cr.Dropout):
            layer.p = 0.0
    other = cr.Sequential(*(layer for layer in network("float64") if not isinstance(layer, cr.Dropout)))
    options = {"batch_size": 40, "sample_shape": X.shape[1:], "class_targets": True}
    compiled = cr.compile(model, cr.CrossEntropyLoss(), cr.SGD(lr=0.05), **options)
    losses = [compiled.step(X[:40], CLASSES[:40]) for _ in range(3)]
    options = {"epochs": 3, "batch_size": 40, "optimizer": cr.SGD(lr=0.05), "shuffle": False, "keep": "last"}
    history = cr.fit(other, cr.CrossEntropyLoss(), (X[:40], CLASSES[:40]), engine="native", **options)
    np.testing.assert_allclose(losses, history.losses, rtol=1e-12)


# -- what is refused, by name

IMAGE = (4, 6, 6)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: cr.MaxPool2d(2, return_indices=True), "MaxPool2d with return_indices"),
        (lambda: cr.AdaptiveMaxPool2d(2, return_indices=True), "AdaptiveMaxPool2d with return_indices"),
        (lambda: cr.ConvTranspose2d(4, 4, 2, groups=2), "ConvTranspose2d with groups of several channels"),
        (lambda: cr.PixelShuffle(3), r"PixelShuffle\(upscale_factor=3\) on samples of shape \(4, 6, 6\)"),
        (lambda: cr.PixelUnshuffle(4), r"PixelUnshuffle\(downscale_factor=4\) on samples of shape \(4, 6, 6\)"),
        (lambda: cr.ChannelShuffle(3), r"ChannelShuffle\(groups=3\) on samples of shape \(4, 6, 6\)"),
        (lambda: cr.Unfold(7), r"Unfold\(.*\) on images of \(6, 6\)"),
        (lambda: cr.LPPool2d(2, 2), "^LPPool2d"),
        (lambda: cr.Conv2d(3, 4, 2), r"Conv2d\(3, 4, .*\) on samples of 4 channels"),
        (lambda: cr.Conv2d(4, 4, 7), r"Conv2d\(4, 4, .*\) on images of \(6, 6\)"),
        (lambda: cr.Conv1d(4, 4, 2), r"Conv1d on samples of shape \(4, 6, 6\)"),
        (lambda: cr.Conv3d(4, 4, 2), r"Conv3d on samples of shape \(4, 6, 6\)"),
        (lambda: cr.MaxPool2d(7), r"MaxPool2d\(.*\) on images of \(6, 6\)"),
        (lambda: cr.AvgPool2d(7), r"AvgPool2d\(.*\) on images of \(6, 6\)"),
        (lambda: cr.Upsample(scale_factor=2.0, mode="linear"), r"Upsample\(.*\) on images of 2 axes"),
    ],
)
def test_what_the_engine_does_not_know_is_refused_by_name(layer, reason):
    with pytest.raises(CannotLower, match=reason):
        lower(cr.Sequential(layer()), sample_shape=IMAGE)


def test_adafactor_of_a_kernel_is_refused_by_name():
    model = network()
    with pytest.raises(ValueError, match="Adafactor of arrays with more than two axes"):
        train("native", model=model, optimizer=cr.Adafactor(0.01))
    assert bits(model) == bits(network())


def test_a_kernel_that_was_set_to_another_shape_is_refused():
    layer = cr.Conv2d(4, 3, 2)
    layer.weight = cr.Parameter(np.zeros((3, 4, 2, 3), "float32"))
    with pytest.raises(CannotLower, match=r"Conv2d\(4, 3, .*\) with Parameter"):
        lower(layer, sample_shape=IMAGE)


def test_images_whose_shape_nobody_has_said_are_asked_for():
    with pytest.raises(CannotLower, match="the shape of the samples that Conv2d gets; sample_shape=… says it"):
        sample_shape(cr.Sequential(cr.Conv2d(4, 3, 2), cr.Flatten(), cr.Linear(75, 2)))


def test_what_is_refused_trains_in_python_by_itself():
    model = cr.Sequential(cr.LPPool2d(2, 2), cr.Flatten(), cr.Linear(40, 2))
    options = {"epochs": 1, "batch_size": 40, "optimizer": cr.SGD(lr=0.01)}
    history = cr.fit(model, cr.CrossEntropyLoss(), (np.abs(X).astype("float32"), CLASSES), **options)
    assert history.engine.startswith("python")
    assert "LPPool2d" in history.engine


def test_adafactor_of_a_kernel_is_refused_whose_means_would_be_of_taps():
    model = cr.Sequential(cr.Conv2d(4, 3, 2), cr.Flatten(), cr.Linear(36, 2))
    with pytest.raises(CannotLower, match="Adafactor of arrays with more than two axes"):
        lower(model, cr.MSELoss(), cr.Adafactor(), sample_shape=(4, 4, 5))
