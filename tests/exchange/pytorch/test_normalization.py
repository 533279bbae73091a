import numpy as np
import pytest
import torch

import chainrule as cr

F = torch.nn.functional


class Calls(torch.nn.Module):
    """A network whose forward is one function behind a Linear."""

    def __init__(self, call):
        super().__init__()
        self.linear, self.call = torch.nn.Linear(4, 4), call
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.call(self, self.linear(x))


@pytest.mark.parametrize(
    ("call", "layer"),
    [
        (lambda f, x: F.layer_norm(x, (4,)), "LayerNorm((4,), eps=1e-05, elementwise_affine=False, bias=False)"),
        (
            lambda f, x: F.layer_norm(x, [3, 4], eps=2),
            "LayerNorm((3, 4), eps=2.0, elementwise_affine=False, bias=False)",
        ),
        (lambda f, x: F.rms_norm(x, (4,), None, 0.1), "RMSNorm((4,), eps=0.1, elementwise_affine=False)"),
        (lambda f, x: F.local_response_norm(x, 3, k=2.0), "LocalResponseNorm(3, alpha=0.0001, beta=0.75, k=2.0)"),
    ],
)
def test_functions_that_normalize_are_read(call, layer):
    module = Calls(call)
    del module.weight
    model, x = cr.from_torch(module), torch.randn(2, 3, 4)
    assert repr(model[-1]) == layer
    np.testing.assert_allclose(model(x.numpy()), module(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_weights_of_the_modules_own_are_refused():
    with pytest.raises(ValueError, match="is a tensor of the module's own, for which no layer stands"):
        cr.from_torch(Calls(lambda f, x: F.layer_norm(x, (4,), f.weight)))
