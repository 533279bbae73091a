"""Muon against PyTorch's, which makes matrices orthogonal in bfloat16: against that, and against itself in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy, seeds
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.optimizers.muon import orthogonal

DEFAULT = (3.4445, -4.7750, 2.0315)
SHAPES = ((4, 3), (3, 7), (5, 5), (1, 6))


@st.composite
def options(draw: Any) -> dict[str, Any]:
    """Some of those that PyTorch has too."""
    choices = {
        "weight_decay": st.one_of(st.just(0.0), st.floats(0.01, 0.5)),
        "momentum": st.floats(0.0, 0.99),
        "nesterov": st.booleans(),
        "ns_coefficients": st.just((2.0, -1.5, 0.5)),
        "eps": st.floats(1e-8, 1e-2),
        "ns_steps": st.integers(0, 7),
        "adjust_lr_fn": st.sampled_from([None, "original", "match_rms_adamw"]),
    }
    found = {name: draw(choice) for name, choice in choices.items() if draw(st.booleans())}
    return {"lr": draw(st.floats(1e-3, 0.1))} | found


def difference(library: str, options: dict[str, Any], seed: int) -> float:
    """How far sixty steps lead from PyTorch's, in float64."""
    rng = np.random.default_rng(seed)
    starts = [rng.normal(size=shape) for shape in SHAPES]
    held = [cr.Parameter(array(start, library)) for start in starts]
    peers = [torch.nn.Parameter(torch.from_numpy(start.copy())) for start in starts]
    ours, theirs = cr.Muon(**options), torch.optim.Muon(peers, **options)
    for _ in range(60):
        for parameter, tensor in zip(held, peers, strict=True):
            grad = rng.normal(size=parameter.shape)
            parameter.grad[...] = array(grad, library)
            tensor.grad = torch.from_numpy(grad)
        ours.step(held)
        theirs.step()
    both = zip(held, peers, strict=True)
    return max(float(np.abs(numpy(parameter.value) - numpy(tensor)).max()) for parameter, tensor in both)


@pytest.mark.parametrize("library", LIBRARIES)
@given(options=options(), seed=seeds())
def test_sixty_steps_are_those_of_pytorch_without_its_bfloat16(
    library: str, options: dict[str, Any], seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
        assert difference(library, options, seed) < 1e-10


@given(options=options(), seed=seeds())
def test_with_bfloat16_pytorch_is_as_far_as_that_rounds(options: dict[str, Any], seed: int) -> None:
    # What a step changes is at most lr · a · 1.5 an element, of which bfloat16 keeps some percent through its products.
    step = options["lr"] * (0.2 * np.sqrt(7) if options.get("adjust_lr_fn") == "match_rms_adamw" else np.sqrt(4 / 3))
    assert difference("numpy", options, seed) < 60 * 0.1 * 1.5 * step


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (1, 3)])
def test_singular_values_come_to_about_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape)
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix, DEFAULT, 5, 1e-7)
    inside = u.T @ found @ vt.T
    assert np.abs(inside - np.diag(np.diag(inside))).max() < 1e-12
    assert ((np.diag(inside) > 0.6) & (np.diag(inside) < 1.3)).all()
    exact = orthogonal(matrix, (1.875, -1.25, 0.375), 40, 1e-7)  # Newton and Schulz's own, which converges
    np.testing.assert_allclose(exact, u @ vt, atol=1e-12)


def test_one_step_by_hand() -> None:
    w, muon = cr.Parameter(np.array([[2.0], [2.0]])), cr.Muon(lr=0.5, weight_decay=0.2, ns_steps=0)
    w.grad[...] = [[3.0], [4.0]]
    muon.step([w])  # without steps `orthogonal` divides by the norm; a = √2, for it is twice as high as wide
    np.testing.assert_allclose(w.value, 1.8 - 0.5 * np.sqrt(2) * np.array([[0.6], [0.8]]), rtol=1e-14)


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_what_is_no_matrix_goes_by_adamw(shape: tuple[int, ...], maximize: bool) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape)
    held, alone = cr.Parameter(start), cr.Parameter(start)
    muon = cr.Muon(
        cr.StepLR(0.1, 3, every="step"),
        adamw_lr_ratio=0.3,
        adamw_betas=(0.5, 0.9),
        adamw_eps=1e-3,
        adamw_weight_decay=0.1,
        maximize=maximize,
    )
    adamw = cr.AdamW(cr.StepLR(0.03, 3, every="step"), (0.5, 0.9), 1e-3, 0.1, maximize=maximize)
    for _ in range(10):
        held.grad[...] = alone.grad[...] = rng.normal(size=shape)
        muon.step([held])
        adamw.step([alone])
    np.testing.assert_allclose(held.value, alone.value, rtol=1e-14)
    assert muon.state[held].keys() == adamw.state[alone].keys()


def test_a_network_of_matrices_and_biases_learns_and_goes_on_after_loading() -> None:
    def network() -> cr.Sequential:
        cr.seed(0)
        return cr.Sequential(cr.Muon(lr=0.01), cr.Linear(2, 12), cr.Tanh(), cr.Linear(12, 2)).double()

    data, model, again = cr.data.disk(100, seed=0), network(), network()
    history = cr.fit(model, cr.MSELoss(), data, epochs=20, keep="last")
    assert history.engine.startswith("native")
    assert history.losses[-1] < history.losses[0] / 2
    again.load_state_dict(model.state_dict())
    again.optimizer.load_state_dict(again.param(), model.optimizer.state_dict(model.param()))
    for one in (model, again):
        cr.fit(one, cr.MSELoss(), data, epochs=3, keep="last")
    for one, other in zip(model.param(), again.param(), strict=True):
        np.testing.assert_array_equal(one.value, other.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ns_steps": 100}, ValueError, "Muon: ns_steps must be at most 99, got 100"),
        ({"ns_coefficients": (1, 2)}, TypeError, "Muon: ns_coefficients must be three numbers, got"),
        ({"adjust_lr_fn": "mine"}, ValueError, 'Muon: adjust_lr_fn must be "original" or "match_rms_adamw", got'),
        ({"adamw_betas": (0.9, 1)}, ValueError, "Muon: adamw_betas"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cr.Muon(**options)
