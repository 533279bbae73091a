"""The same layers on PyTorch tensors, on a GPU where there is one, with the same numbers as on NumPy arrays."""

import chainrule as cr
from chainrule.extras import require  # imports, or says what to install

torch = require("torch", "torch")
torch.set_num_threads(1)  # there is too little in a step to be shared
device = "cuda" if torch.cuda.is_available() else "cpu"
train, test = cr.data.disk(1000, seed=0), cr.data.disk(1000, seed=1)


def trained(on_torch):
    """A network trained on the disk, computing in float64."""
    model = cr.Sequential(
        cr.Linear(2, 25, rng=0), cr.ReLU(), cr.Linear(25, 25, rng=1), cr.ReLU(), cr.Linear(25, 2, rng=2)
    )
    model.double()
    if on_torch:
        model.to("torch", device=device)
    cr.fit(model, cr.CrossEntropyLoss(), train, epochs=60, optimizer=cr.Adam(lr=0.01))
    return model


numpy_model, torch_model = trained(on_torch=False), trained(on_torch=True)
weight = torch_model.param()[0].value
print(f"weights are a {type(weight).__module__}.{type(weight).__name__} on {weight.device}")

back = torch_model.to("numpy")
largest = max(abs(a.value - b.value).max() for a, b in zip(numpy_model.param(), back.param(), strict=True))
print(f"largest difference to the NumPy network after 1,920 steps: {largest:.1e}")
print("errors on 1,000 other points:", cr.evaluate(back, cr.CrossEntropyLoss(), test).errors)
