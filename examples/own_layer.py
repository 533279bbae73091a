"""A layer of one's own: two methods, and a check that they belong together."""

import numpy as np

import chainrule as cr
from chainrule.arrays import namespace


class Gaussian(cr.Module):
    """A bump around zero, with a width for each feature that is learned.

    Equation  y = exp(-(x / s)²);  dx = -2 dy y x / s²;  ds = Σ 2 dy y x² / s³, gathered over the rows
    Shapes    x (batch, features) -> y (the same); s (features,)
    Saves     x and y
    """

    def __init__(self, features):
        self.s = cr.Parameter(np.ones(features, dtype="float32"))

    def forward(self, x):
        y = namespace(x).exp(-((x / self.s.value) ** 2))
        return y, (x, y)

    def backward(self, dy, saved):
        x, y = saved
        s = self.s.value
        self.s.grad += (2 * dy * y * x**2 / s**3).sum(axis=0)
        return -2 * dy * y * x / s**2


class Residual(cr.Module):
    """Add what an inner network makes of x to x itself: the gradient comes back by both ways.

    Equation  y = x + f(x);  dx = dy + dy · f'
    """

    def __init__(self, inner):
        self.inner = inner

    def forward(self, x):
        y, saved = self.inner.forward(x)
        return x + y, saved

    def backward(self, dy, saved):
        return dy + self.inner.backward(dy, saved)


rng = np.random.default_rng(0)
print(cr.check_gradients(Gaussian(3), rng.normal(size=(4, 3))))
print(cr.check_gradients(Residual(cr.Sequential(cr.Linear(3, 3, rng=0), Gaussian(3))), rng.normal(size=(4, 3))))


class Forgetful(Gaussian):
    """The same with a mistake: the factor x is missing from ds."""

    def backward(self, dy, saved):
        x, y = saved
        self.s.grad += (2 * dy * y * x / self.s.value**3).sum(axis=0)
        return -2 * dy * y * x / self.s.value**2


try:
    cr.check_gradients(Forgetful(3), rng.normal(size=(4, 3)))
except AssertionError as error:
    print(error)

train, test = cr.data.disk(1000, seed=0), cr.data.disk(1000, seed=1)
model = cr.Sequential(
    cr.Linear(2, 25, rng=1), Residual(cr.Sequential(cr.Linear(25, 25, rng=2), Gaussian(25))), cr.Linear(25, 2, rng=3)
)
cr.fit(model, cr.MSELoss(), train, epochs=60, optimizer=cr.Adam(lr=0.005))
print("errors on 1,000 other points:", cr.evaluate(model, cr.MSELoss(), test).errors)
