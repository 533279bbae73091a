import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr

X = np.random.default_rng(0).normal(size=(4, 2))


def linear(*sizes: int, rng: int = 0) -> cr.Linear:
    return cr.Linear(*sizes, rng=rng, dtype="float64")


def test_a_fork_by_hand() -> None:
    double = cr.Linear(1, 1, weight=np.array([[2.0]]), bias=False)
    triple = cr.Linear(1, 1, weight=np.array([[3.0]]), bias=False)
    # h = 2x, a = 3h, y = h a = 12 x²; at x = 1: dh = a + 3 h = 12, of both readers; dx = 2 · 12
    graph = cr.Graph({"h": (double, "x"), "a": (triple, "h"), "y": (cr.Multiply(), ("h", "a"))})
    y, saved = graph.forward(np.array([[1.0]]))
    assert y.tolist() == [[12.0]]
    assert graph.backward(np.array([[1.0]]), saved).tolist() == [[24.0]]
    assert triple.weight.grad.tolist() == [[4.0]]  # da · h = 2 · 2
    assert double.weight.grad.tolist() == [[12.0]]


def test_names_of_inputs_and_outputs_follow_from_the_nodes() -> None:
    graph = cr.Graph({"a": (cr.Tanh(), "x"), "b": (cr.ReLU(), "a")})
    assert (graph.inputs, graph.outputs) == ("x", "b")
    graph = cr.Graph({"a": (cr.Sum(), ("v", "u")), "b": (cr.Sum(), ("u", "a", "w"))})
    assert (graph.inputs, graph.outputs) == (("v", "u", "w"), "b")
    graph = cr.Graph({"a": (cr.Tanh(), "x")}, inputs=("x",), outputs=["a"])  # type: ignore[arg-type]
    assert (graph.inputs, graph.outputs) == (("x",), ("a",))
    assert list(graph({"x": X})) == ["a"]
    assert set(graph.backward({"a": X}, graph.forward((X,))[1])[0].shape) == {4, 2}


def test_nodes_run_in_the_given_order_where_it_allows_that() -> None:
    tanh = cr.Tanh()
    nodes = {"d": (cr.Sum(), ("c", "a")), "b": (tanh, "a"), "a": (tanh, "x"), "c": (tanh, "x")}
    graph = cr.Graph({**nodes, "e": (cr.Sum(), ("d", "b"))})
    assert list(graph.nodes) == ["a", "b", "c", "d", "e"]
    assert graph.outputs == "e"
    assert [name for name, _ in graph.named_children()] == list(graph.nodes)
    again = cr.Graph(graph.nodes, graph.inputs, graph.outputs)
    assert again.nodes == graph.nodes


def test_what_is_given_in_any_order_computes_the_same() -> None:
    nodes = {
        "h": (linear(2, 3), "x"),
        "t": (cr.Tanh(), "h"),
        "s": (cr.Sum(), ("h", "t")),
        "y": (linear(3, 1, rng=1), "s"),
    }
    expected = cr.Graph(nodes)(X)
    for order in (("y", "s", "t", "h"), ("t", "y", "h", "s")):
        graph = cr.Graph({name: nodes[name] for name in order}, outputs="y")
        np.testing.assert_array_equal(graph(X), expected)


def test_parameters_have_the_names_of_their_nodes() -> None:
    shared = linear(2, 2)
    inner = cr.Sequential(linear(2, 3), cr.Tanh())
    graph = cr.Graph({"h": (shared, "x"), "again": (shared, "h"), "net": (inner, "again")})
    assert [name for name, _ in graph.named_parameters()] == ["h.weight", "h.bias", "net.0.weight", "net.0.bias"]
    assert list(graph.state_dict())[:4] == ["h.weight", "h.bias", "again.weight", "again.bias"]
    assert graph.num_parameters == 6 + 9
    for twin in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert twin["h"] is twin["again"]
        assert twin["h"] is not shared
        np.testing.assert_array_equal(twin(X), graph(X))


def test_a_module_may_be_replaced() -> None:
    graph = cr.Graph({"h": (cr.Tanh(), "x"), "y": (cr.ReLU(), "h")})
    graph["h"] = double = cr.Linear(2, 2, weight=2 * np.eye(2), bias=False)
    assert graph["h"] is double
    np.testing.assert_array_equal(graph(X), np.maximum(2 * X, 0))
    with pytest.raises(KeyError, match="Graph: there is no node 'z'; there are h, y"):
        graph["z"] = cr.Tanh()
    with pytest.raises(ValueError, match="Graph: node 'y' must be another network, got one that contains this one"):
        graph["y"] = cr.Sequential(graph)
    with pytest.raises(TypeError, match="Graph: node 'y' must be a Module, got 3"):
        graph["y"] = 3  # type: ignore[assignment]
    graph.nodes.clear()  # a copy
    assert list(graph.nodes) == ["h", "y"]


def test_the_print_says_what_each_node_reads() -> None:
    shared = linear(2, 2)
    graph = cr.Graph(
        {
            "first": (shared, "a"),
            "b": (cr.Residual(cr.Sequential(linear(2, 2), cr.Tanh())), "first"),
            "again": (shared, "b"),
            "sum": (cr.Sum(), ("again", "b", "c")),
        },
        outputs=("sum", "again"),
    )
    assert repr(cr.Sequential(cr.SGD(lr=0.1), graph)).splitlines() == [
        "Sequential(",
        "  SGD(lr=0.1)",
        "  (0): Graph(",
        "    first  <- a            Linear(2, 2)                       6",
        "    b      <- first        Residual(",
        "                             (body): Sequential(",
        "                               (0): Linear(2, 2)                       6",
        "                               (1): Tanh()",
        "                             )  # 6 parameters",
        "                           )  # x + body(x), 6 parameters",
        "    again  <- b            Linear of first",
        "    sum    <- again, b, c  Sum()",
        "  )  # (a, c) -> (sum, again), 12 parameters",
        ")  # 12 parameters",
    ]


T = cr.Tanh()
WRONG: dict[str, tuple[Any, str]] = {
    "nothing": (lambda: cr.Graph({}), "TypeError: Graph: nodes must map names to (module, sources), got {}"),
    "no nodes": (lambda: cr.Graph(T), "nodes must map names to (module, sources), got Tanh()"),  # type: ignore[arg-type]
    "no sources": (lambda: cr.Graph({"a": T}), "node 'a' must be (module, sources), got Tanh()"),  # type: ignore[dict-item]
    "empty sources": (lambda: cr.Graph({"a": (T, ())}), "sources must be a name or a tuple of names, got ()"),
    "a class": (lambda: cr.Graph({"a": (cr.Tanh, "x")}), "the module of node 'a' must be a Module"),  # type: ignore[dict-item]
    "a dot": (lambda: cr.Graph({"a.b": (T, "x")}), "the name of a node must be a word without dots, got 'a.b'"),
    "a number": (lambda: cr.Graph({0: (T, "x")}), "the name of a node must be a string, got 0"),  # type: ignore[dict-item]
    "a circle": (
        lambda: cr.Graph({"y": (T, "c"), "a": (T, "c"), "b": (cr.Sum(), ("x", "a")), "c": (T, "b")}),
        "nodes wait for each other in a circle: c <- b <- a <- c",
    ),
    "itself": (lambda: cr.Graph({"a": (cr.Sum(), ("x", "a"))}), "nodes wait for each other in a circle: a <- a"),
    "an idle node": (
        lambda: cr.Graph({"a": (T, "x"), "b": (T, "x"), "c": (T, "b"), "y": (T, "a")}),
        "every node must be needed by an output, got 'b', 'c', which nothing reads",
    ),
    "unknown source": (
        lambda: cr.Graph({"a": (T, "z")}, inputs="x"),
        "inputs must hold 'z', which node 'a' reads, got ('x',)",
    ),
    "unknown output": (
        lambda: cr.Graph({"a": (T, "x"), "b": (T, "a")}, outputs="c"),
        "outputs must be among the nodes a, b, got 'c'",
    ),
    "input twice": (
        lambda: cr.Graph({"a": (T, "x")}, inputs=("x", "x")),
        "inputs must be names that differ, got ('x', 'x')",
    ),
    "input is a node": (
        lambda: cr.Graph({"a": (T, "x")}, inputs=("x", "a")),
        "an input must not have the name of a node, got 'a'",
    ),
}


@pytest.mark.parametrize(("make", "words"), WRONG.values(), ids=WRONG)
def test_a_graph_that_makes_no_sense_is_refused(make: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        make()
    assert words in f"{error.type.__name__}: {error.value}"


def test_inputs_and_gradients_that_do_not_fit_are_refused() -> None:
    graph = cr.Graph({"s": (cr.Sum(), ("a", "b")), "t": (cr.Tanh(), "s")}, outputs=("s", "t"))
    expected = "x must be a dict of 'a', 'b' or a tuple of 2, got "
    for x, got in (
        (X, "a numpy float64 array"),
        ((X,), "a tuple of 1"),
        ({"a": X}, "a dict of 'a'"),
        ({"a": X, "b": X, "c": X}, "a dict of 'a', 'b', 'c'"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"Graph(…).forward: {expected}{got}")):
            graph.forward(x)
    saved = graph.forward((X, X))[1]
    with pytest.raises(ValueError, match=re.escape("Graph(…).backward: dy must be a dict of 's', 't' or a tuple of 2")):
        graph.backward(X, saved)


def test_a_value_of_several_arrays_is_read_by_select() -> None:
    two = cr.Parallel(cr.Tanh(), cr.ReLU())
    graph = cr.Graph({"two": (two, "x"), "y": (cr.Select(1), "two")})
    np.testing.assert_array_equal(graph(X), np.maximum(X, 0))
    assert isinstance(cr.Graph({"two": (two, "x")})(X), tuple)
    words = (
        "the value 'two', read by node 'y' among others, must be an array (a node with Select picks one), got a tuple"
    )
    with pytest.raises(ValueError, match=re.escape(words)):
        cr.Graph({"two": (two, "x"), "y": (cr.Sum(), ("two", "x"))}).forward(X)
    with pytest.raises(ValueError, match=re.escape("the value 'two', one of several outputs, must be an array")):
        cr.Graph({"two": (two, "x"), "y": (cr.Tanh(), "x")}, outputs=("two", "y")).forward(X)


def test_gradients_of_two_readers_of_several_arrays_add_up() -> None:
    graph = cr.Graph(
        {
            "two": (cr.Parallel({"a": cr.Tanh(), "b": linear(2, 2)}), "x"),
            "a": (cr.Select("a"), "two"),
            "b": (cr.Select("b"), "two"),
            "again": (cr.Select("b"), "two"),
            "y": (cr.Multiply(), ("a", "b", "again")),
        }
    )
    assert cr.check_gradients(graph, X).ok


def test_inference_forgets_what_nobody_reads_any_more() -> None:
    import weakref

    class Array(np.ndarray):
        pass

    kept: list[weakref.ref[Array]] = []

    class Keep(cr.Module):
        def forward(self, x: Any) -> tuple[Any, None]:
            alive.append(sum(one() is not None for one in kept))
            y = (x + 1).view(Array)
            kept.append(weakref.ref(y))
            return y, None

    alive: list[int] = []
    keep = Keep()
    graph = cr.Graph({f"n{i}": (keep, f"n{i - 1}" if i else "x") for i in range(5)})
    np.testing.assert_array_equal(graph(X), X + 5)
    assert max(alive) == 1


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_any_graph_has_the_right_gradient(data: st.DataObject, seed: int) -> None:
    layers = [linear(2, 2), cr.Tanh(), cr.Residual(linear(2, 2, rng=1)), cr.Sequential(cr.Sigmoid(), linear(2, 2))]
    nodes: dict[str, Any] = {}
    for i in range(data.draw(st.integers(1, 6))):
        known = ["x", "z", *nodes]
        sources = tuple(data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)))
        join = data.draw(st.sampled_from([cr.Sum(), cr.Multiply()]))
        layer = data.draw(st.sampled_from(layers))  # the same one again, perhaps
        nodes[f"n{i}"] = (layer, sources[0]) if len(sources) == 1 else (join, sources)
    unread = tuple(name for name in nodes if not any(name in _names(sources) for _, sources in nodes.values()))
    given_order = data.draw(st.permutations(list(nodes)))
    graph = cr.Graph({name: nodes[name] for name in given_order}, inputs=("x", "z"), outputs=unread)
    rng = np.random.default_rng(seed)
    assert cr.check_gradients(graph, {"z": rng.normal(size=(2, 2)), "x": rng.normal(size=(2, 2))}).ok


def _names(sources: Any) -> tuple[str, ...]:
    return (sources,) if isinstance(sources, str) else sources
