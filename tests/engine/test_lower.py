"""From Modules to a Plan. What is refused is tested where users meet it too: in `fit` and `compile`."""

import numpy as np
import pytest
from cases import CASES

import chainrule as cr
from chainrule.engine import CannotLower, lower
from chainrule.engine.lower import sample_shape
from chainrule.engine.rules import losses as loss_rules
from chainrule.engine.rules.rule import known_kinds
from chainrule.structures import each

# Python's loop trains these, and the engine refuses them by their names.
WITHOUT_A_RULE = {
    *(f"{name}{axes}d" for name in ("LPPool", "MaxUnpool") for axes in (1, 2, 3)),
    "Fold",
}


def _linear(*sizes, **options):
    return cr.Linear(*sizes, dtype="float64", rng=0, **options)


def ops(plan):
    return [(op.kind, op.inputs, op.output) for op in plan.ops]


def values(plan):
    return [(value.columns, value.positions) for value in plan.values]


def test_a_nested_network_lowers_to_a_flat_program():
    first, second = _linear(6, 5), _linear(5, 3, bias=False)
    inner = cr.Sequential(cr.Tanh(), cr.Sequential(cr.Identity(), second))
    model = cr.Sequential(cr.Flatten(), first, inner)
    plan = lower(model, sample_shape=(2, 3))
    assert ops(plan) == [("Linear", (0,), 1), ("Tanh", (1,), 2), ("Linear", (2,), 3)]
    assert values(plan) == [(6, 1), (5, 1), (5, 1), (3, 1)]
    assert (plan.x, plan.y, plan.x_shapes, plan.y_shapes, plan.dtype) == (0, 3, ((2, 3),), ((3,),), "float64")
    assert plan.modules == tuple(model.modules())
    assert plan.parameters == (first.weight, first.bias, second.weight)
    assert plan.shapes == ((5, 6), (5,), (3, 5))
    assert [op.parameters for op in plan.ops] == [(0, 1), (), (2,)]


def test_shared_parameters_have_one_place():
    first = _linear(4, 4)
    model = cr.Sequential(first, cr.ReLU(), _linear(4, 4, weight=first.weight), first, _linear(4, 4, bias=first.bias))
    plan = lower(model, sample_shape=(4,))
    assert [op.parameters for op in plan.ops if op.kind == "Linear"] == [(0, 1), (0, 2), (0, 1), (3, 1)]
    assert len(plan.parameters) == 4


def test_what_travels_of_an_activation_are_the_arguments_of_its_constructor():
    model = cr.Sequential(_linear(2, 2), cr.ELU(0.5), cr.GELU("tanh"), cr.Softplus(2.0), cr.Tanh())
    plan = lower(model, sample_shape=(2,))
    found = [op.settings for op in plan.ops[1:]]
    assert found == [{"alpha": 0.5}, {"approximate": "tanh"}, {"beta": 2.0, "threshold": 20.0}, {}]


# -- branches


def test_a_graph_is_its_nodes_in_the_order_in_which_they_run():
    model = cr.Graph(
        {
            "z": (_linear(5, 2), "both"),  # given before what it waits for
            "h": (cr.Sequential(_linear(3, 3), cr.Tanh()), "a"),
            "both": (cr.Concat(), ("h", "b")),
        },
        inputs=("a", "b"),
        outputs=("z", "h"),
    )
    plan = lower(model, sample_shape={"b": (2,), "a": (3,)})
    assert plan.x == {"b": 0, "a": 1}
    assert plan.y == {"z": 5, "h": 3}
    assert ops(plan) == [("Linear", (1,), 2), ("Tanh", (2,), 3), ("Concat", (3, 0), 4), ("Linear", (4,), 5)]


def test_a_tuple_stands_for_the_inputs_of_a_graph_in_their_order():
    model = cr.Graph({"s": (cr.Concat(), ("a", "b")), "y": (_linear(5, 1), "s")})
    plan = lower(model, sample_shape=((2,), (3,)))
    assert plan.x == (0, 1)
    assert ops(plan) == [("Concat", (0, 1), 2), ("Linear", (2,), 3)]


def test_residual_is_its_body_its_shortcut_and_a_sum():
    body = cr.Sequential(_linear(3, 3), cr.ReLU())
    assert ops(lower(cr.Residual(body), sample_shape=(3,))) == [
        ("Linear", (0,), 1),
        ("ReLU", (1,), 2),
        ("Sum", (0, 2), 3),
    ]
    plan = lower(cr.Residual(_linear(3, 2), _linear(3, 2)), sample_shape=(3,))
    assert ops(plan) == [("Linear", (0,), 1), ("Linear", (0,), 2), ("Sum", (1, 2), 3)]


def test_parallel_and_select_are_no_ops():
    both = cr.Parallel({"a": _linear(2, 3), "b": _linear(2, 4)})
    plan = lower(both, sample_shape=(2,))
    assert ops(plan) == [("Linear", (0,), 1), ("Linear", (0,), 2)]
    assert plan.y == {"a": 1, "b": 2}
    plan = lower(both, sample_shape={"b": (2,), "a": (2,)})
    assert (plan.x, ops(plan)) == ({"b": 0, "a": 1}, [("Linear", (1,), 2), ("Linear", (0,), 3)])
    plan = lower(cr.Sequential(cr.Parallel(_linear(2, 3), _linear(2, 4)), cr.Select(-1)), sample_shape=(2,))
    assert plan.y == 2


def test_a_module_in_two_nodes_is_two_ops_with_the_same_parameters():
    shared = _linear(2, 2)
    plan = lower(cr.Graph({"a": (shared, "x"), "b": (shared, "a")}), sample_shape=(2,))
    assert [(op.inputs, op.output, op.parameters) for op in plan.ops] == [((0,), 1, (0, 1)), ((1,), 2, (0, 1))]


# -- layouts


def test_linear_on_rows_lays_them_out_and_flatten_says_nothing_until_somebody_needs_it():
    model = cr.Sequential(_linear(3, 4), cr.Tanh(), cr.Flatten(), _linear(8, 1))
    plan = lower(model, sample_shape=(2, 3))
    assert ops(plan)[0] == ("Reshape", (0,), 1)
    assert values(plan) == [(6, 1), (3, 2), (4, 2), (4, 2), (8, 1), (1, 1)]
    assert [op.kind for op in plan.ops] == ["Reshape", "Linear", "Tanh", "Reshape", "Linear"]


def test_a_value_that_is_laid_out_twice_alike_is_laid_out_once():
    both = cr.Parallel(_linear(3, 4), _linear(3, 4))
    plan = lower(cr.Sequential(both, cr.Sum(), cr.Flatten()), sample_shape=(2, 3))
    assert [op.kind for op in plan.ops] == ["Reshape", "Linear", "Linear", "Sum", "Reshape"]  # outputs lie flat


def test_outputs_keep_the_shape_that_the_model_gives_them():
    plan = lower(_linear(3, 4), sample_shape=(2, 3))
    assert plan.y_shapes == ((2, 4),)
    assert plan.values[plan.y] == plan.values[-1]
    assert values(plan)[-1] == (8, 1)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([cr.Unflatten(1, (2, -1))], (2, 3)),
        ([cr.Unflatten(-1, (3, 2))], (3, 2)),
        ([cr.Reshape(-1, 2)], (3, 2)),
        ([cr.Reshape(1, 6), cr.Flatten(1, 2)], (6,)),
        ([cr.Reshape(1, 2, 3), cr.Flatten(2)], (1, 6)),
        ([cr.Reshape(1, 6), cr.Permute(0, 2, 1)], (6, 1)),
    ],
)
def test_other_shapes_are_no_ops(layers, shape):
    plan = lower(cr.Sequential(_linear(6, 6), *layers), sample_shape=(6,))
    assert [op.kind for op in plan.ops] == ["Linear"]
    assert plan.y_shapes == (shape,)


def test_permute_says_which_column_each_column_comes_from():
    plan = lower(cr.Sequential(_linear(6, 6), cr.Reshape(2, 3), cr.Permute(0, 2, 1)), sample_shape=(6,))
    assert (plan.ops[-1].kind, plan.ops[-1].settings) == ("Permute", {"columns": [0, 3, 1, 4, 2, 5]})
    assert plan.y_shapes == ((3, 2),)


def test_concat_joins_channels_or_whole_samples():
    def joined(dim):
        both = cr.Parallel(cr.Reshape(2, 3), cr.Reshape(2, 3))
        return lower(cr.Sequential(_linear(6, 6), both, cr.Concat(dim)), sample_shape=(6,))

    channels, samples = joined(2), joined(1)
    assert channels.y_shapes == ((2, 6),)
    assert [op.kind for op in channels.ops] == [
        "Linear",
        "Reshape",
        "Concat",
        "Reshape",
    ]  # rows of each, and flat again
    assert samples.y_shapes == ((4, 3),)
    assert [op.kind for op in samples.ops] == ["Linear", "Concat"]
    assert joined(-1).y_shapes == channels.y_shapes


# -- heads


def test_each_head_has_its_loss_and_weight_in_the_order_of_the_outputs():
    model = cr.Parallel({"price": _linear(2, 1), "kind": _linear(2, 3)})
    loss = cr.MultiLoss({"kind": cr.CrossEntropyLoss(), "price": cr.MSELoss()}, weights={"price": 0.5, "kind": 2.0})
    plan = lower(model, loss, sample_shape=(2,), class_targets={"kind": True, "price": False})
    found = [(type(head.loss).__name__, head.weight, head.class_targets) for head in plan.heads]
    assert found == [("MSELoss", 0.5, False), ("CrossEntropyLoss", 2.0, True)]
    assert plan.loss is loss


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (cr.MSELoss(), "MSELoss on several outputs"),
        (cr.MultiLoss(cr.MSELoss(), cr.MSELoss()), "other heads"),
        (cr.MultiLoss({"price": cr.MSELoss(), "size": cr.MSELoss()}), "other heads"),
    ],
)
def test_heads_have_to_be_those_of_the_network(loss, reason):
    model = cr.Parallel({"price": _linear(2, 1), "kind": _linear(2, 3)})
    with pytest.raises(CannotLower, match=reason):
        lower(model, loss, sample_shape=(2,))


# -- dropout


def test_dropout_layers_are_numbered_as_fit_numbers_them():
    """A layer with p = 0 draws nothing and is no op, but it has its number."""
    model = cr.Sequential(
        cr.Dropout(0.5, rng=0),
        _linear(2, 2),
        cr.Dropout(0.0, rng=0),
        cr.Sequential(cr.Dropout(0.25, rng=0)),
    )
    plan = lower(model, sample_shape=(2,))
    assert [op.settings for op in plan.ops if op.kind == "Dropout"] == [
        {"p": 0.5, "stream": 0},
        {"p": 0.25, "stream": 2},
    ]


def test_dropout_layers_of_a_residual_are_numbered_as_fit_numbers_them():
    """The shortcut runs first, the body is listed first."""
    model = cr.Residual(cr.Sequential(_linear(2, 2), cr.Dropout(0.5, rng=0)), cr.Dropout(0.25, rng=0))
    plan = lower(model, sample_shape=(2,))
    assert [op.settings for op in plan.ops if op.kind == "Dropout"] == [
        {"p": 0.25, "stream": 1},
        {"p": 0.5, "stream": 0},
    ]


def test_layers_in_evaluation_mode_are_left_out_where_that_is_asked_for():
    model = cr.Sequential(_linear(2, 2), cr.Dropout(0.5, rng=0)).eval()
    assert [op.kind for op in lower(model, sample_shape=(2,), in_mode=True).ops] == ["Linear"]
    assert [op.kind for op in lower(model, sample_shape=(2,)).ops] == ["Linear", "Dropout"]


# -- what is known and what is refused


def test_a_batch_of_plain_numbers_becomes_rows_of_one():
    plan = lower(cr.Sequential(cr.Flatten(), _linear(1, 2)), sample_shape=())
    assert (plan.x_shapes, values(plan)[0]) == (((),), (1, 1))


def test_rules_of_somebody_else_come_before_the_engines_own():
    def squared(lowering, layer, x):
        return lowering.alike("Squared", layer, x)

    model = cr.Sequential(_linear(3, 2), cr.Tanh())
    others = {cr.Tanh: squared}
    assert [op.kind for op in lower(model, sample_shape=(3,), others=others).ops] == ["Linear", "Squared"]
    assert sample_shape(cr.Sequential(cr.Tanh(), _linear(3, 2)), others) == (3,)
    assert [op.kind for op in lower(model, sample_shape=(3,)).ops] == ["Linear", "Tanh"]


def test_every_layer_and_loss_of_the_framework_has_a_rule_or_is_refused_by_name():
    """By discovery, so that a new one is not forgotten."""

    def subclasses(base):
        found = [kind for kind in vars(cr).values() if isinstance(kind, type) and issubclass(kind, base)]
        return {kind for kind in found if kind is not base and kind.__module__.startswith("chainrule.")}

    assert subclasses(cr.Loss) - {cr.MultiLoss} == set(loss_rules.RULES)
    layers = {kind for kind in subclasses(cr.Module) if kind.__module__.startswith("chainrule.layers")}
    assert known_kinds() <= layers
    without = layers - known_kinds()
    assert {kind.__name__ for kind in without} == WITHOUT_A_RULE
    for case in CASES:
        if case.kind in without:
            shape = case.fixed[-1]
            module, inputs = case.example(shape)
            shapes = each(lambda part: part.shape[1:], inputs[0])
            with pytest.raises(CannotLower, match=case.kind.__name__):
                lower(cr.Sequential(module), sample_shape=shapes)


@pytest.mark.parametrize("kind", sorted(known_kinds(), key=lambda kind: kind.__name__))
def test_a_subclass_is_never_taken_for_its_base(kind):
    class Own(kind):
        pass

    own = object.__new__(Own)  # whatever its constructor asks for
    vars(own).update(layers=(), networks=(), _nodes={})
    with pytest.raises(CannotLower, match="Own"):
        lower(cr.Sequential(_linear(2, 2), own), sample_shape=(2,))


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_pass_that_is_set_on_an_object_is_not_passed_over(name):
    model = cr.Sequential(_linear(2, 2), cr.Tanh())
    setattr(model[1], name, lambda *args: args)
    with pytest.raises(CannotLower, match="Tanh with a pass of its own"):
        lower(model, sample_shape=(2,))


def test_an_argument_that_is_no_plain_value_is_refused_by_name():
    layer = cr.ELU()
    layer.alpha = np.ones(2)
    with pytest.raises(CannotLower, match=r"ELU with alpha=array"):
        lower(cr.Sequential(_linear(2, 2), layer), sample_shape=(2,))
    del layer.alpha
    with pytest.raises(CannotLower, match=r"ELU without its alpha"):
        lower(cr.Sequential(_linear(2, 2), layer), sample_shape=(2,))


def test_a_wrong_width_names_the_layer():
    with pytest.raises(CannotLower, match=r"Linear\(3, 2\) on samples of 2 numbers"):
        lower(cr.Sequential(_linear(2, 2), _linear(3, 2)), sample_shape=(2,))


class WithScale(cr.Sequential):
    """A network with a Parameter of its own."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.scale = cr.Parameter(np.ones(1))


TWO = cr.Parallel(_linear(2, 2), _linear(2, 3))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (cr.Sequential(), "a network without parameters"),
        (cr.Sequential(cr.Tanh()), "a network without parameters"),
        (WithScale(_linear(2, 2)), "WithScale"),
        (_linear(2, 2).to("torch"), "arrays that are not NumPy's"),
        (cr.Sequential(TWO, cr.Tanh()), "Tanh on several arrays"),
        (cr.Sequential(TWO, cr.Sum()), r"Sum of samples of shapes \(2,\), \(3,\)"),
        (cr.Sequential(TWO, cr.Select(2)), r"Select\(2\) on what has no such part"),
        (cr.Sequential(TWO, cr.Select("a")), r"Select\('a'\) on what has no such part"),
        (cr.Sequential(_linear(2, 2), cr.Sum()), "Sum on what is not several arrays"),
        (cr.Sequential(TWO, TWO), r"Linear\(2, 3\) on samples of 3 numbers"),
        (cr.Sequential(_linear(2, 2), cr.Reshape(3)), r"Reshape\(3\) on 2 numbers"),
        (cr.Sequential(_linear(2, 2), cr.Permute(0, 2, 1)), r"Permute\(0, 2, 1\) on samples of shape \(2,\)"),
        (cr.Sequential(_linear(2, 2), cr.Unflatten(2, (1, 2))), r"Unflatten\(.*\) on samples of shape \(2,\)"),
        (cr.Sequential(_linear(2, 2), cr.Flatten(0)), r"Flatten\(.*\) on samples of shape \(2,\)"),
        (cr.Sequential(_linear(2, 2), cr.Unflatten(1, (2, 1)), cr.Softmax(1)), r"Softmax along dim 1 of samples"),
        (cr.Parallel(cr.Parallel(_linear(2, 2)), _linear(2, 2)), "Parallel on several arrays"),
    ],
)
def test_what_is_no_plan_is_refused_by_name(model, reason):
    with pytest.raises(CannotLower, match=reason):
        lower(model, sample_shape=(2,))


def test_concat_between_the_first_axis_and_the_last_is_refused():
    both = cr.Parallel(cr.Reshape(2, 3, 1), cr.Reshape(2, 3, 1))
    with pytest.raises(CannotLower, match="Concat along dim 2"):
        lower(cr.Sequential(_linear(6, 6), both, cr.Concat(2)), sample_shape=(6,))


@pytest.mark.parametrize("shape", [((2,), (2,)), {"a": (2,)}, (2, 2)])
def test_inputs_of_another_form_are_refused(shape):
    model = cr.Graph({"s": (cr.Sum(), ("a", "b")), "y": (_linear(2, 1), "s")})
    if shape == ((2,), (2,)):
        lower(model, sample_shape=shape)
        shape = ((2,),)
    with pytest.raises(CannotLower, match="Graph on what is not"):
        lower(model, sample_shape=shape)


def test_a_parameter_outside_the_layers_is_refused():
    model = cr.Sequential(_linear(2, 2))
    model.scale = cr.Parameter(np.ones(1))
    with pytest.raises(CannotLower, match="parameters outside the layers"):
        lower(model, sample_shape=(2,))


@pytest.mark.parametrize(
    ("loss", "class_targets", "reason"),
    [
        (cr.MSELoss(), True, "MSELoss with class indices as targets"),
        (cr.NLLLoss(), False, "NLLLoss with targets that are not class indices"),
        (cr.MSELoss(reduction="none"), False, 'MSELoss with reduction="none"'),
        (cr.CrossEntropyLoss([1.0, 2.0]), True, r"CrossEntropyLoss with \(2,\) class weights for \(3,\) classes"),
    ],
)
def test_a_loss_that_does_not_fit_its_targets_is_refused(loss, class_targets, reason):
    with pytest.raises(CannotLower, match=reason):
        lower(_linear(2, 3), loss, sample_shape=(2,), class_targets=class_targets)


def test_classes_along_an_axis_between_others_are_refused():
    with pytest.raises(CannotLower, match=r"CrossEntropyLoss on outputs of shape \(4, 3\)"):
        lower(_linear(2, 3), cr.CrossEntropyLoss(), sample_shape=(4, 2))


def test_parameters_of_another_byte_order_are_refused():
    layer = _linear(2, 2)
    layer.weight._value = layer.weight.value.astype(">f8")
    with pytest.raises(CannotLower, match="another byte order"):
        lower(layer, sample_shape=(2,))


# -- what a network takes, without data

KNOWN = {
    "a chain": (cr.Sequential(cr.Flatten(), cr.Dropout(), cr.Tanh(), _linear(3, 2)), (3,)),
    "what comes behind does not matter": (cr.Sequential(_linear(3, 2), WithScale()), (3,)),
    "a way around": (cr.Residual(cr.Sequential(cr.Tanh(), _linear(3, 3))), (3,)),
    "a shape that is given": (cr.Sequential(cr.Unflatten(1, (2, 4)), _linear(4, 2)), (8,)),
    "another shape that is given": (cr.Sequential(cr.Reshape(2, 4), _linear(4, 2)), (8,)),
    "one array for all": (cr.Parallel(_linear(3, 2), cr.Sequential(cr.ReLU(), _linear(3, 1))), (3,)),
    "an array for each": (cr.Parallel(_linear(3, 2), _linear(4, 2)), ((3,), (4,))),
    "an array for each name": (cr.Parallel({"a": _linear(3, 2), "b": _linear(4, 2)}), {"a": (3,), "b": (4,)}),
    "a graph": (
        cr.Graph({"h": (_linear(3, 2), "a"), "k": (_linear(4, 2), "b"), "y": (cr.Sum(), ("h", "k"))}),
        {"a": (3,), "b": (4,)},
    ),
    "a sum with what is known": (
        cr.Graph({"h": (_linear(3, 2), "a"), "y": (cr.Sum(), ("h", "b"))}),
        {"a": (3,), "b": (2,)},
    ),
    "dropout on the way to each": (
        cr.Parallel(cr.Sequential(cr.Dropout(rng=0), _linear(3, 2)), _linear(4, 2)),
        ((3,), (4,)),
    ),
}


@pytest.mark.parametrize(("model", "shape"), KNOWN.values(), ids=KNOWN)
def test_the_shape_of_a_sample_is_what_the_layers_say(model, shape):
    assert sample_shape(model) == shape


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (cr.Sequential(cr.Tanh()), "a network without a Linear"),
        (cr.Sequential(cr.Sum(), _linear(2, 2)), "how many arrays Sum gets"),
        (cr.Sequential(cr.Select(0), _linear(2, 2)), "how many arrays Select gets"),
        (cr.Graph({"s": (cr.Concat(), ("a", "b")), "y": (_linear(5, 1), "s")}), "samples that Concat gets"),
        (cr.Sequential(cr.Permute(0, 2, 1), cr.Flatten(), _linear(4, 1)), "samples that Permute gets"),
    ],
)
def test_where_they_do_not_say_it_the_error_asks_for_it(model, reason):
    with pytest.raises(CannotLower, match=f"{reason}.*; sample_shape=… "):
        sample_shape(model)
