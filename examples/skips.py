"""Ways around layers: of two networks thirty layers deep, the one with a skip around each of them learns."""

import numpy as np

import chainrule as cr


def spirals(n, seed):
    """Points on two spirals that wind around each other, and whose they are."""
    rng = np.random.default_rng(seed)
    turn = 3 * np.pi * np.sqrt(rng.uniform(0.02, 1, n))
    label = rng.integers(2, size=n)
    across, up = np.cos(turn + np.pi * label), np.sin(turn + np.pi * label)
    x = 0.15 * turn[:, None] * np.stack([across, up], axis=1) + rng.normal(scale=0.03, size=(n, 2))
    return cr.Dataset(x.astype("float32"), label)


def network(depth, skips):
    """Linear(2, 16), then `depth` layers with or without a way around each, then Linear(16, 2)."""
    layers = [cr.Sequential(cr.Linear(16, 16), cr.Tanh()) for _ in range(depth)]
    return cr.Sequential(
        cr.Linear(2, 16), *(cr.Residual(layer) if skips else layer for layer in layers), cr.Linear(16, 2)
    )


train, test = spirals(1000, seed=0), spirals(1000, seed=1)
loss, networks = cr.CrossEntropyLoss(), {}
for name, skips in {"a chain": False, "with skips": True}.items():
    cr.seed(0)
    model = networks[name] = network(30, skips)
    y, saved = model.forward(train.x)
    model.backward(np.ones_like(y), saved)
    first, last = (np.linalg.norm(model[i].param()[0].grad) for i in (1, 30))  # before training
    cr.fit(model, loss, train, epochs=40, batch_size=50, optimizer=cr.Adam(lr=0.003))
    errors = cr.evaluate(model, loss, test).errors
    print(f"{name:10}  gradient of layer 1: {first / last:.1g} times that of layer 30, errors {errors} of 1000")

if __name__ == "__main__":
    figure, axes = cr.plots.sheet(1, 2)
    for ax, (name, model) in zip(axes[0], networks.items(), strict=True):
        cr.plots.decision_regions(model, test, title=name, ax=ax)
    figure.savefig("spirals.png", dpi=160)
    cr.plots.graph(network(2, True)).savefig("skips.png", dpi=160)
    print("pictures: spirals.png, and of a network with two skips skips.png")
