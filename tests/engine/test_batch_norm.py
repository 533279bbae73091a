"""BatchNorm on the engine, against Python's loop: rows that depend on each other, and state that no rule trains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import bits

import chainrule as cr
from chainrule.engine import CannotLower, lower
from chainrule.engine.run import outputs

rng = np.random.default_rng(0)
SHAPES = {"rows": (5,), "series": (2, 6), "images": (2, 4, 3), "volumes": (2, 2, 3, 2)}
X = {name: 3 + 2 * rng.normal(size=(41, *shape)) for name, shape in SHAPES.items()}
TARGET = rng.normal(size=(41, 2))


def network(kind="rows", *optimizer, dtype="float64", seed=0, **options):
    """BatchNorm at the front, in the middle and behind a ReLU, with weights that are not 1."""
    draw, axes = np.random.default_rng(seed), max(1, len(SHAPES[kind]) - 1)
    norm = getattr(cr, f"BatchNorm{axes}d")

    def normed(channels):
        weights = {"weight": draw.normal(size=channels).astype(dtype)} if options.get("affine", True) else {}
        return norm(channels, dtype=dtype, **options, **weights)

    channels, made = SHAPES[kind][0], {"dtype": dtype, "rng": draw}
    first = cr.Linear(channels, 19, **made) if kind == "rows" else getattr(cr, f"Conv{axes}d")(channels, 19, 2, **made)
    layers = [normed(channels), first, cr.ReLU(), normed(19), cr.Tanh(), *[cr.Flatten()] * (kind != "rows")]
    n = 19 if kind == "rows" else 19 * int(np.prod([length - 1 for length in SHAPES[kind][1:]]))
    return cr.Sequential(*optimizer, *layers, cr.Linear(n, 2, **made))


def train(engine, model, kind="rows", rows=41, dtype="float64", **how):
    options = {"epochs": 4, "batch_size": 9, "seed": 1, "keep": "last", "optimizer": cr.SGD(lr=0.05, momentum=0.5)}
    data = X[kind][:rows].astype(dtype), TARGET[:rows].astype(dtype)
    history = cr.fit(model, cr.MSELoss(), data, engine=engine, **options | how)
    assert history.engine.split(",")[0] == engine
    return history


def numbers(model):
    return {name: np.array(value) for name, value in model.state_dict().items()}


def assert_alike(one, other, rtol=1e-10):
    one, other = numbers(one), numbers(other)
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=rtol, atol=1e-11, err_msg=name)


@settings(max_examples=60)
@given(
    st.sampled_from(list(SHAPES)),
    st.fixed_dictionaries(
        {
            "momentum": st.sampled_from([0.1, None, 0.0, 0.7, 1.0]),
            "eps": st.sampled_from([1e-5, 0.1]),
            "affine": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {
            "batch_size": st.sampled_from([7, 12, 39, 40, 64]),
            "accumulate": st.sampled_from([1, 1, 3]),
            "keep": st.sampled_from(["last", "best"]),
            "shuffle": st.booleans(),
        }
    ),
    st.sampled_from([1, 2]),
    st.sampled_from([24, 33, 39]),
)
def test_parameters_and_statistics_are_those_of_the_python_loop(kind, options, how, threads, rows):
    models = [network(kind, **options) for _ in range(2)]
    validation = X[kind][20:41], TARGET[20:41]
    expected = train("python", models[0], kind, rows, validation=validation, **how)
    found = train("native", models[1], kind, rows, validation=validation, threads=threads, **how)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-9)
    np.testing.assert_allclose(found.validation_losses, expected.validation_losses, rtol=1e-9)
    assert_alike(models[1], models[0], rtol=1e-9)
    assert models[1][0].num_batches_tracked.value.dtype == np.int64
    np.testing.assert_allclose(outputs(models[1], X[kind]), models[1](X[kind]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("kind", "batch_size"), [("rows", 3000), ("rows", 16), ("images", 3000)])
def test_one_and_two_threads_have_the_same_bits(kind, batch_size):
    wide = {"rows": (200,), "images": (4, 12, 12)}[kind]
    x = np.random.default_rng(1).normal(size=(3000 if batch_size > 16 else 64, *wide)).astype("float32")
    target = x.reshape(len(x), -1)[:, :2]

    def run(threads):
        draw = {"rng": np.random.default_rng(0)}
        if kind == "rows":
            layers = [cr.Linear(200, 300, **draw), cr.BatchNorm1d(300), cr.ReLU(), cr.Linear(300, 2, **draw)]
        else:
            layers = [
                cr.Conv2d(4, 20, 3, **draw),
                cr.BatchNorm2d(20),
                cr.ReLU(),
                cr.Flatten(),
                cr.Linear(2000, 2, **draw),
            ]
        model = cr.Sequential(*layers)
        history = cr.fit(
            model, cr.MSELoss(), (x, target), epochs=2, batch_size=batch_size, optimizer=cr.Adam(lr=0.01), seed=0,
            threads=threads, engine="native", keep="last",
        )  # fmt: skip
        return bits(model), history.losses

    assert run(1) == run(2)


def test_large_numbers_of_batches_are_exact():
    model = network(dtype="float32")
    model[0].num_batches_tracked.value = np.asarray((1 << 40) + 12345)
    train("native", model, dtype="float32", epochs=1)
    assert int(model[0].num_batches_tracked.value) == (1 << 40) + 12345 + 5


def test_float32_is_as_near_as_its_rounding():
    models = [network("images", dtype="float32") for _ in range(2)]
    for engine, model in zip(("python", "native"), models, strict=True):
        train(engine, model, "images", dtype="float32")
    for name, array in numbers(models[0]).items():
        np.testing.assert_allclose(numbers(models[1])[name], array, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("average", [cr.EMA(0.9), cr.SWA(1)])
def test_statistics_stay_those_of_the_trained_weights_where_there_is_an_average(average):
    models = [network() for _ in range(2)]
    for engine, model in zip(("python", "native"), models, strict=True):
        train(engine, model, average=average, keep="best", validation=(X["rows"], TARGET))
    assert_alike(models[1], models[0], rtol=1e-9)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_resumed_run_has_the_bits_of_a_whole_one(keep, tmp_path):
    how = {"epochs": 6, "keep": keep, "validation": (X["rows"], TARGET), "optimizer": cr.Adam(lr=0.05)}
    whole, parts = network(), network()
    train("native", whole, **how)
    train("native", parts, checkpoint=tmp_path, **how | {"epochs": 2})
    resumed = network(seed=5)
    train("native", resumed, checkpoint=tmp_path, resume=True, **how)
    assert bits(resumed) == bits(whole)
    by_python = network(seed=6)
    train("python", by_python, checkpoint=tmp_path, resume=True, **how)
    assert_alike(by_python, whole)


def test_fit_many_trains_them_as_fit_does():
    def build():
        return network("images", cr.SGD(lr=0.1), seed=int(cr.random.generator().integers(100)))

    data = X["images"][:40], TARGET[:40]
    results = cr.fit_many(build, cr.MSELoss(), data, seeds=3, epochs=3, batch_size=10, engine="native")
    for result in results:
        cr.seed(result.seed)
        alone = build()
        cr.fit(alone, cr.MSELoss(), data, epochs=3, batch_size=10, seed=result.seed, engine="native")
        assert bits(alone) == bits(result.model)


# -- what callbacks see and set


def test_callbacks_see_the_statistics_of_their_epoch_and_what_they_set_counts():
    def run(engine):
        seen = []

        def look(run):
            norm = run.model[3]
            seen.append((norm.running_mean.value.copy(), int(norm.num_batches_tracked.value)))
            if len(seen) == 2:
                norm.reset_running_stats()
                run.model[0].running_var.value[...] = 5.0

        model = network()
        train(engine, model, callbacks=[look], epochs=4, keep="last")
        return model, seen

    (python, expected), (native, found) = run("python"), run("native")
    assert [n for _, n in found] == [n for _, n in expected] == [5, 10, 5, 10]
    np.testing.assert_allclose([m for m, _ in found], [m for m, _ in expected], rtol=1e-9, atol=1e-12)
    assert_alike(native, python, rtol=1e-9)


def test_a_layer_that_a_callback_puts_in_evaluation_mode_goes_by_its_statistics():
    def run(engine):
        model, modes = network(), [None, "eval", None, "train", None, None]
        train(engine, model, epochs=6, callbacks=[lambda run: getattr(model[3], modes.pop(0) or "modules")()])
        return model

    python, native = run("python"), run("native")
    assert int(python[3].num_batches_tracked.value) == 20 < int(python[0].num_batches_tracked.value)
    assert_alike(native, python, rtol=1e-9)


def test_one_layer_may_stand_twice():
    def made():
        norm, draw = cr.BatchNorm1d(5, dtype="float64"), {"dtype": "float64", "rng": np.random.default_rng(0)}
        return cr.Sequential(norm, cr.Linear(5, 5, **draw), norm, cr.Tanh(), cr.Linear(5, 2, **draw))

    models = [made(), made()]
    for engine, model in zip(("python", "native"), models, strict=True):
        train(engine, model)
    assert int(models[1][0].num_batches_tracked.value) == 40
    assert_alike(models[1], models[0], rtol=1e-9)


def test_what_is_frozen_follows_its_batches_all_the_same():
    models = [network() for _ in range(2)]
    for engine, model in zip(("python", "native"), models, strict=True):
        model[0].freeze(), model[3].freeze()
        train(engine, model)
    assert_alike(models[1], models[0], rtol=1e-9)
    assert int(models[1][3].num_batches_tracked.value) == 20


# -- compile


def test_steps_of_a_compiled_network_are_those_of_the_python_loop():
    python, native = network("images", cr.Adam(lr=0.01)), network("images", cr.Adam(lr=0.01))
    train("python", python, "images", 40, batch_size=10, shuffle=False, epochs=2, optimizer=None)
    compiled = cr.compile(native, cr.MSELoss(), batch_size=10, sample_shape=SHAPES["images"])
    for _ in range(2):
        for i in range(0, 40, 10):
            compiled.step(X["images"][i : i + 10], TARGET[i : i + 10])
    assert_alike(native, python, rtol=1e-9)
    np.testing.assert_allclose(compiled.predict(X["images"]), python(X["images"]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_forward_and_backward_of_a_compiled_network(training):
    model, twin = network(), network()
    for each in (model, twin):
        each[3].running_mean.value = np.linspace(-1, 1, 19)
    compiled = cr.compile(model, batch_size=20)
    x, dy = X["rows"][:20], rng.normal(size=(20, 2))
    y, saved = twin.train(training).forward(x)
    np.testing.assert_allclose(compiled.forward(x, training=training), y, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(compiled.backward(dy), twin.backward(dy, saved), rtol=1e-9, atol=1e-12)
    for mine, its in zip(model.param(), twin.param(), strict=True):
        np.testing.assert_allclose(mine.grad, its.grad, rtol=1e-9, atol=1e-11)
    assert_alike(model, twin)


def test_what_is_set_is_what_the_next_call_uses():
    model = network()
    compiled = cr.compile(model, batch_size=20)
    compiled.forward(X["rows"][:20])
    assert int(model[0].num_batches_tracked.value) == 1
    model[0].running_mean.value[...] = 7.0
    model[3].running_var.value = np.full(19, 0.25)
    np.testing.assert_allclose(compiled.predict(X["rows"]), model(X["rows"]), rtol=1e-10, atol=1e-12)
    model[3].running_var = cr.Buffer(np.ones(19))
    with pytest.raises(ValueError, match="the Buffers of running statistics were others when it was compiled"):
        compiled.predict(X["rows"])


def test_statistics_that_do_not_fit_are_refused():
    model = network()
    compiled = cr.compile(model, batch_size=20)
    model[0].running_mean.value = np.zeros(6)
    with pytest.raises(ValueError, match="a parameter changed its shape"):
        compiled.predict(X["rows"])


def test_a_batch_of_one_changes_nothing():
    model = network("rows", cr.SGD(lr=0.1))
    compiled, before = cr.compile(model, cr.MSELoss(), batch_size=20), bits(model)
    for call in (lambda: compiled.step(X["rows"][:1], TARGET[:1]), lambda: compiled.forward(X["rows"][:1])):
        with pytest.raises(ValueError, match="more than one value per channel in training"):
            call()
    assert bits(model) == before
    assert compiled.forward(X["rows"][:1], training=False).shape == (1, 2)


def test_one_image_is_batch_enough():
    models = [network("images") for _ in range(2)]
    for engine, model in zip(("python", "native"), models, strict=True):
        train(engine, model, "images", 7, batch_size=1)
    assert_alike(models[1], models[0], rtol=1e-9)


# -- what is refused


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (cr.BatchNorm1d(5, track_running_stats=False), (5,), "BatchNorm1d without running statistics"),
        (cr.BatchNorm2d(2, eps=0.0), (2, 4, 3), "BatchNorm2d with eps=0"),
        (cr.BatchNorm2d(2), (2, 6), r"BatchNorm2d\(2, .*\) on samples of shape \(2, 6\)"),
        (cr.BatchNorm1d(3), (2, 6), r"BatchNorm1d\(3, .*\) on samples of shape \(2, 6\)"),
    ],
)
def test_what_the_engine_does_not_know_is_refused_by_name(layer, shape, message):
    with pytest.raises(CannotLower, match=message):
        lower(cr.Sequential(layer, cr.Flatten()), sample_shape=shape)


def test_one_that_leads_to_no_output_is_left_to_python_which_follows_its_batches():
    model = cr.Sequential(cr.Parallel({"side": cr.BatchNorm1d(5), "y": cr.Linear(5, 2, rng=0)}), cr.Select("y"))
    with pytest.raises(CannotLower, match="a BatchNorm1d that leads to no output"):
        lower(model, sample_shape={"side": (5,), "y": (5,)})


def test_statistics_in_another_dtype_are_left_to_python():
    model = network()
    model[0].running_mean.value = model[0].running_mean.value.astype("float32")
    with pytest.raises(CannotLower, match="running statistics in float32, parameters in float64"):
        lower(model, sample_shape=(5,))
