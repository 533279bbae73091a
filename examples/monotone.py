"""A network that can only rise: weights that are never negative, held so by a constraint after each update."""

import numpy as np

import chainrule as cr


def response(dose):
    """What a dose does: little, then more and more, then no more."""
    return 1 / (1 + np.exp(-14 * (dose - 0.4)))


def measured(n, seed):
    """Doses, and what they did, which can be measured only roughly."""
    rng = np.random.default_rng(seed)
    dose = rng.uniform(0, 1, size=(n, 1))
    return cr.Dataset(dose.astype("float32"), (response(dose) + rng.normal(scale=0.15, size=(n, 1))).astype("float32"))


def network():
    """Tanh rises, and a sum of rising functions rises: so does the network, if no weight is negative."""
    return cr.Sequential(
        cr.Linear(1, 32, rng=0), cr.Tanh(), cr.Linear(32, 32, rng=1), cr.Tanh(), cr.Linear(32, 1, rng=2)
    )


train, dose = measured(60, seed=0), np.linspace(0, 1, 501, dtype="float32")[:, None]
curves = {}
for name in ("free", "rising"):
    model = network()
    weights = [layer.weight for layer in model if isinstance(layer, cr.Linear)]  # biases may be what they like
    held = {"parameters": weights, "constraint": cr.constraints.NonNegative() if name == "rising" else None}
    cr.fit(
        model, cr.MSELoss(), train, epochs=3000, batch_size=20, optimizer=cr.Adam(lr=0.005, groups=[held]), keep="last"
    )
    y = curves[name] = cr.predict(model, dose)
    fall, error = max(0.0, -np.diff(y, axis=0).min()), np.abs(y - response(dose)).mean()
    print(f"{name:6}  steepest fall {501 * fall:.2f} per dose, mean error {error:.3f}")

if __name__ == "__main__":
    figure, axes = cr.plots.sheet(1, 1, panel=(5.6, 3.6))
    ax = axes[0, 0]
    ax.plot(train.x, train.target, ".", color="#999999", label="measured")
    ax.plot(dose, response(dose), color="#333333", linewidth=1, linestyle=(0, (4, 2)), label="true")
    for (name, y), colour in zip(curves.items(), cr.plots.COLOURS, strict=False):
        ax.plot(dose, y, color=colour, linewidth=1.6, label=name)
    ax.set(xlabel="dose", ylabel="response")
    ax.legend(frameon=False)
    figure.savefig("monotone.png", dpi=160)
    print("picture: monotone.png")
