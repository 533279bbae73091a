"""Borrow a PyTorch network, train it in chainrule's engine, and use it in PyTorch."""

import chainrule as cr
from chainrule.extras import require  # imports, or says what to install

torch = require("torch", "torch")
train, test = cr.data.disk(1000, seed=0, classes=True), cr.data.disk(1000, seed=1, classes=True)

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Linear(2, 25), torch.nn.ReLU(),
    torch.nn.Linear(25, 25), torch.nn.ReLU(),
    torch.nn.Linear(25, 2),
)  # fmt: skip
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

history = cr.train_torch(
    network, torch.nn.CrossEntropyLoss(), train, optimizer=optimizer, epochs=200, batch_size=50, validation=test
)
print(history)

# From here on it is PyTorch again: the same parameters, and an optimizer that knows what it has to know.
with torch.no_grad():
    said = network(torch.from_numpy(test.x)).argmax(dim=1)
print(f"PyTorch finds {int((said != torch.from_numpy(test.target)).sum())} of 1,000 test points wrong")
