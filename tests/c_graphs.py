"""Networks with branches for C to predict by, and to train."""

from functools import partial
from math import prod

import numpy as np
from cases import ELEMENTWISE

import chainrule as cr

ACTIVATIONS = [*(partial(case.build, ()) for case in ELEMENTWISE), cr.Softmax]


class DrawnGraph:
    """A network that grows node by node: forks, shared layers, several inputs and heads, rows and columns."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        cr.seed(seed)
        self.nodes, self.shapes, self.read, self.linears = {}, {}, set(), {}
        shapes = [(3,), (4,), (2, 3), (3, 2), (2, 2, 2)]
        for name in ("left", "right", "b")[: self.rng.integers(1, 4)]:
            self.shapes[name] = shapes[self.rng.integers(len(shapes))]
        self.inputs = tuple(self.shapes)
        for name in self.inputs:
            self.layer(name)
        for _ in range(self.rng.integers(3, 9)):
            self.grow()
        self.end()

    def one(self, options):
        options = list(options)
        return options[self.rng.integers(len(options))]

    def add(self, module, sources, shape):
        name = f"v{len(self.nodes)}"
        self.nodes[name], self.shapes[name] = (module, sources), shape
        self.read.update([sources] if isinstance(sources, str) else sources)
        return name

    def linear(self, source, n):
        """A Linear, perhaps one that stands elsewhere already."""
        sizes = self.shapes[source][-1], n
        if sizes not in self.linears or self.rng.random() < 0.5:
            self.linears[sizes] = cr.Linear(*sizes, bias=bool(self.rng.integers(4)))
        return self.add(self.linears[sizes], source, (*self.shapes[source][:-1], n))

    def layer(self, source):
        shape = self.shapes[source]
        match self.rng.integers(7):
            case 0:
                return self.add(self.one(ACTIVATIONS)(), source, shape)
            case 1 if len(shape) > 1:
                order = tuple(self.rng.permutation(len(shape)))
                return self.add(cr.Permute(0, *(1 + i for i in order)), source, tuple(shape[i] for i in order))
            case 2:
                flat = self.add(cr.Flatten(), source, (prod(shape),))
                return self.add(cr.Unflatten(1, (1, -1)), flat, (1, prod(shape))) if self.rng.random() < 0.3 else flat
            case 3 if len(shape) > 1:
                return self.add(cr.Reshape(*shape[::-1]), source, shape[::-1])
            case 4:
                inner = cr.Sequential(cr.Linear(shape[-1], 3), self.one(ACTIVATIONS)(), cr.Linear(3, shape[-1]))
                return self.add(cr.Residual(inner), source, shape)
            case 5 if self.rng.random() < 0.5:
                return self.add(cr.Dropout(0.3), source, shape)
        return self.linear(source, int(self.rng.integers(1, 6)))

    def grow(self):
        source = self.one(self.shapes)
        shape = self.shapes[source]
        alike = [name for name in self.shapes if self.shapes[name] == shape]
        match self.rng.integers(5):
            case 0:
                return self.add(self.one([cr.Sum, cr.Multiply])(), tuple(self.one(alike) for _ in range(3)), shape)
            case 1:
                return self.add(self.one([cr.Sum, cr.Multiply])(), (source, self.one(alike)), shape)
            case 2:
                other = self.one(name for name in self.shapes if self.shapes[name][:-1] == shape[:-1])
                return self.add(cr.Concat(-1), (source, other), (*shape[:-1], shape[-1] + self.shapes[other][-1]))
            case 3:
                other = self.one(name for name in self.shapes if self.shapes[name][1:] == shape[1:])
                return self.add(cr.Concat(), (source, other), (shape[0] + self.shapes[other][0], *shape[1:]))
        return self.layer(source)

    def end(self):
        """Every value that nobody has read goes to an output, perhaps together with others."""
        loose = [name for name in self.nodes if name not in self.read]
        outputs = []
        while loose:
            taken, loose = (loose[:2], loose[2:]) if self.rng.random() < 0.5 else (loose[:1], loose[1:])
            flat = [self.add(cr.Flatten(), name, (prod(self.shapes[name]),)) for name in taken]
            if len(flat) > 1:
                flat = [self.add(cr.Concat(), tuple(flat), (sum(self.shapes[name][0] for name in flat),))]
            outputs.append(self.linear(flat[0], 3) if self.rng.random() < 0.7 else flat[0])
        if not self.linears:
            outputs[0] = self.linear(outputs[0], 3)
        if self.rng.random() < 0.3:  # one that is read on the way as well
            outputs = list(dict.fromkeys([*outputs, self.one(name for name in self.nodes if name in self.read)]))
        one = len(self.inputs) == 1 and self.rng.random() < 0.5
        self.outputs = outputs if len(outputs) > 1 or self.rng.random() < 0.3 else outputs[0]
        self.outputs = tuple(self.outputs) if isinstance(self.outputs, list) else self.outputs
        self.model = cr.Graph(self.nodes, self.inputs[0] if one else self.inputs, self.outputs)
        shapes = {name: self.shapes[name] for name in self.inputs}
        self.sample_shape = shapes[self.inputs[0]] if one else shapes
        heads = {name: self.head(name) for name in outputs}
        weights = {name: float(self.rng.uniform(0.1, 2.0)) for name in heads}
        self.loss = heads[outputs[0]] if isinstance(self.outputs, str) else cr.MultiLoss(heads, weights=weights)

    def head(self, name):
        shape = self.shapes[name]
        losses = [
            cr.MSELoss(),
            cr.L1Loss(),
            cr.HuberLoss(delta=0.5),
            cr.MSELoss(reduction="sum"),
            cr.BCEWithLogitsLoss(),
        ]
        if len(shape) == 1:
            weight = list(map(float, self.rng.uniform(0.5, 2.0, size=shape)))
            losses += [
                cr.CrossEntropyLoss(),
                cr.CrossEntropyLoss(weight, label_smoothing=0.1),
                cr.BCEWithLogitsLoss(weight),
            ]
        return self.one(losses)
