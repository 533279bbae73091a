"""The report's test program: define a network, train it on the disk, count its errors, draw what it learned."""

import chainrule as cr

train, test = cr.data.disk(1000, seed=0), cr.data.disk(1000, seed=1)

cr.seed(0)
model = cr.Sequential(
    cr.SGD(lr=0.05, momentum=0.9),
    cr.Linear(2, 25),
    cr.Tanh(),
    cr.Linear(25, 25),
    cr.Tanh(),
    cr.Linear(25, 25),
    cr.Tanh(),
    cr.Linear(25, 2),
)
loss = cr.MSELoss()
history = cr.fit(model, loss, train, epochs=200, batch_size=50, validation=test)

print(model)
print(history)
for name, data in {"train": train, "test": test}.items():
    result = cr.evaluate(model, loss, data)
    print(f"{name:5}  loss {result.loss:.5f}  errors {result.errors} of {len(data)}  ({result.error_rate:.1%})")

if __name__ == "__main__":
    cr.plots.decision_regions(model, test, title=f"{result.errors} errors").savefig("disk.png", dpi=160)
    cr.plots.losses(history).savefig("losses.png", dpi=160)
    print("pictures: disk.png, losses.png")
