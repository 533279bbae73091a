import numpy as np
import pytest

import chainrule as cr
from chainrule import plots


def network(n_out=2):
    return cr.Sequential(cr.Linear(2, 8, rng=0), cr.Tanh(), cr.Linear(8, n_out, rng=1))


def test_points_draws_every_sample_once_in_the_colour_of_its_class():
    data = cr.data.disk(200, seed=0, radius="balanced")
    (ax,) = plots.points(data).axes
    drawn = np.concatenate([np.asarray(dots.get_offsets()) for dots in ax.collections])
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, data.x.astype(float)))
    colours = [tuple(dots.get_facecolor()[0]) for dots in ax.collections]
    assert len(set(colours)) == 2
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    inside = int(data.target[:, 1].sum())
    assert labels == [f"class 0  ({200 - inside})", f"class 1  ({inside})"]


def test_decision_regions_rings_exactly_the_errors():
    data, model = cr.data.disk(300, seed=0, radius="balanced"), network()
    errors = cr.evaluate(model, cr.MSELoss(), data).errors
    (ax,) = plots.decision_regions(model, data).axes
    rings = ax.collections[-1]
    assert len(rings.get_offsets()) == errors > 0


def test_decision_regions_shows_the_class_that_the_network_speaks_for():
    model = cr.Sequential(cr.Linear(2, 2, weight=[[1.0, 0.0], [-1.0, 0.0]], bias=[-0.5, 0.5]))  # class 0 right of 1/2
    (ax,) = plots.decision_regions(model).axes
    ground = np.asarray(ax.images[0].get_array())
    left, right = ground[120, 20], ground[120, 220]
    assert left[0] > left[2]  # vermilion, class 1
    assert right[2] > right[0]  # blue, class 0


@pytest.mark.parametrize("n_out", [1, 3])
def test_decision_regions_takes_one_output_and_many(n_out):
    rng = np.random.default_rng(0)
    data = cr.Dataset(rng.normal(size=(50, 2)), rng.integers(0, max(n_out, 2), 50))
    assert plots.decision_regions(network(n_out), data).axes


def test_losses_draws_training_validation_and_the_best_epoch():
    train, test = cr.data.disk(100, seed=0), cr.data.disk(100, seed=1)
    history = cr.fit(network(), cr.MSELoss(), train, epochs=7, validation=test, optimizer=cr.SGD(lr=0.1))
    (ax,) = plots.losses(history).axes
    training, validation, best = ax.lines
    assert list(training.get_ydata()) == history.losses
    assert list(validation.get_ydata()) == history.validation_losses
    assert best.get_xdata()[0] == history.best_epoch + 1
    assert ax.get_yscale() == "log"


def test_losses_compares_several_histories_by_name():
    history = cr.History(losses=[1.0, 0.5], best_epoch=1)
    (ax,) = plots.losses({"first": history, "second": history}).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["first", "second"]


def test_schedule_draws_the_rate_of_every_step_and_the_momentum_where_it_is_cycled():
    rate = cr.OneCycleLR(0.5, total_steps=12)
    left, right = plots.schedule(rate, 3, steps_per_epoch=4).axes
    for ax, at in ((left, rate.at), (right, rate.momentum_at)):
        (line,) = ax.lines
        assert list(line.get_xdata()[:-1]) == [step / 4 for step in range(12)]
        assert list(line.get_ydata()[:-1]) == [at(steps=step, epochs=step // 4) for step in range(12)]
    (ax,) = plots.schedule(cr.StepLR(0.5, 2, gamma=0.5), 4).axes
    assert list(ax.lines[0].get_ydata()) == [0.5, 0.5, 0.25, 0.25, 0.25]


def test_schedule_needs_losses_for_one_that_goes_by_them_and_leaves_it_alone():
    rate = cr.ReduceLROnPlateau(1.0, factor=0.5, patience=0)
    (ax,) = plots.schedule(rate, 3, losses=[1.0, 1.0, 1.0]).axes
    assert list(ax.lines[0].get_ydata()) == [1.0, 1.0, 0.5, 0.5]
    assert rate.reductions == 0
    with pytest.raises(ValueError, match=r"plots.schedule: losses must be those of 4 epochs, for Reduce.*, got 3"):
        plots.schedule(rate, 4, losses=[1.0, 1.0, 1.0])
    with pytest.raises(TypeError, match=r"plots.schedule: rate must be a schedule, got 0.1"):
        plots.schedule(0.1, 4)


def test_pictures_are_drawn_where_the_caller_says(tmp_path):
    figure, axes = plots.sheet(1, 2)
    data = cr.data.disk(50, seed=0)
    assert plots.points(data, ax=axes[0, 0]) is figure
    assert plots.decision_regions(network(), data, ax=axes[0, 1]) is figure
    figure.savefig(tmp_path / "both.png")
    assert (tmp_path / "both.png").stat().st_size > 10_000


def test_points_that_are_not_in_a_plane_are_refused():
    with pytest.raises(ValueError, match=r"points: data.x must be \(n, 2\), points in a plane, got \(5, 3\)"):
        plots.points(cr.Dataset(np.zeros((5, 3)), np.zeros(5, dtype=int)))


def branches():
    return cr.Graph(
        {
            "h": (cr.Linear(4, 8), "image"),
            "both": (cr.Concat(), ("h", "numbers")),
            "y": (cr.Residual(cr.Sequential(cr.Linear(11, 11), cr.Tanh())), "both"),
        }
    )


def test_a_graph_is_drawn_with_every_layer_and_arrow(tmp_path):
    figure = plots.graph(branches(), title="two inputs")
    (ax,) = figure.axes
    words = {text.get_text() for text in ax.texts} - {""}
    assert words == {
        "image", "numbers", "Linear(4, 8)", "h · 40", "Concat()", "both", "Linear(11, 11)", "y.body.0 · 132", "Tanh()",
        "y.body.1", "+", "y",
    }  # fmt: skip
    arrows = [patch for patch in ax.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arrows) == 8
    assert len(ax.patches) - len(arrows) == 8  # boxes
    assert ax.get_title() == "two inputs"
    figure.savefig(tmp_path / "graph.png")
    figure, axes = plots.sheet(1, 2)
    assert plots.graph(network(), ax=axes[0, 0]) is figure


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match=r"plots\.graph: model must be a Module.*got several; make one of them"):
        plots.graph([cr.Linear(2, 3), cr.Tanh()])


def test_the_text_of_a_box_stays_inside_of_it():
    model = cr.Sequential(cr.Linear(1000, 1000, bias=False), cr.LeakyReLU(0.123456), cr.Unflatten(1, (10, 100)))
    figure = plots.graph(model)
    figure.canvas.draw()
    (ax,) = figure.axes
    frames = [patch.get_window_extent() for patch in ax.patches if type(patch).__name__ == "FancyBboxPatch"]
    for text in ax.texts:
        if text.get_text():
            extent = text.get_window_extent()
            assert any(
                frame.x0 <= extent.x0 and extent.x1 <= frame.x1 and frame.y0 <= extent.y0 and extent.y1 <= frame.y1
                for frame in frames
            ), text.get_text()
