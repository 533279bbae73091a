"""What does a PyTorch user gain by `cr.train_torch`, next to the loop that the tutorials teach?

    python benchmarks/train_torch.py [--quick] [--json FILE]

One core, float32, ReLU, mean squared error, Adam, 1,000 samples in a new order each epoch. The loop draws an order by
torch.randperm and indexes tensors, which is faster than a DataLoader; `train_torch` is timed whole: reading
the network, training, writing the weights and the state of the optimizer back.
"""

from itertools import pairwise

import common

import chainrule as cr

NETWORKS = ((2, 25, 25, 25, 2), (4, 64, 64, 2), (64, 64, 64, 64, 4), (784, 256, 128, 10))
SAMPLES, EPOCHS = 1000, 20


def network(widths):
    """A torch network, and an optimizer for it."""
    import torch

    torch.manual_seed(0)
    layers = []
    for n_in, n_out in pairwise(widths):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    made = torch.nn.Sequential(*layers[:-1])
    return made, torch.optim.Adam(made.parameters(), lr=1e-3)


def bodies(widths, batch):
    """The two ways, as functions of the number of times."""
    import torch

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, widths[0], generator=generator)
    target = torch.randn(SAMPLES, widths[-1], generator=generator)
    loss = torch.nn.MSELoss()
    (mine, my_optimizer), (theirs, optimizer) = network(widths), network(widths)

    def by_chainrule(n):
        for _ in range(n):
            cr.train_torch(mine, loss, (x, target), optimizer=my_optimizer, epochs=EPOCHS, batch_size=batch, threads=1)

    def by_pytorch(n):
        for _ in range(n * EPOCHS):
            for rows in torch.randperm(SAMPLES).split(batch):
                optimizer.zero_grad()
                loss(theirs(x[rows]), target[rows]).backward()
                optimizer.step()

    return {"chainrule": by_chainrule, "PyTorch": by_pytorch}


def main() -> None:
    """Measure, print, save."""
    options = common.arguments(__doc__)
    common.one_core()
    report = common.Report("What does a PyTorch user gain by train_torch?", options)
    rows = []
    for widths in NETWORKS[:2] if options.quick else NETWORKS:
        for batch in (10, 100):
            times = common.interleave(bodies(widths, batch), rounds=3 if options.quick else 5)
            mine, theirs = times["chainrule"], times["PyTorch"]
            row = {"network": common.network_name(widths), "batch": batch, "times": times}
            rows.append(row | {"ms": mine.median * 1e3, "loop": theirs.median * 1e3, "x": theirs.median / mine.median})
    columns = {"network": "network", "batch": "batch", "ms": "train_torch, ms", "loop": "PyTorch loop, ms"}
    report.table("rows", rows, columns | {"x": "times as fast"})
    report.save()


if __name__ == "__main__":
    main()
