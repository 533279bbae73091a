"""The training loop written out: everything that `fit` does, with nothing hidden."""

import chainrule as cr

train, test = cr.data.disk(1000, seed=0), cr.data.disk(1000, seed=1)
cr.seed(0)
model = cr.Sequential(cr.Linear(2, 25), cr.ReLU(), cr.Linear(25, 25), cr.ReLU(), cr.Linear(25, 2))
loss, optimizer = cr.MSELoss(), cr.Adam(lr=0.005)

for epoch in range(100):
    total = 0.0
    for x, target in train.batches(50, seed=0, epoch=epoch):
        y, saved = model.forward(x)  # the output, and what backward will need
        value, saved_loss = loss.forward(y, target)
        model.zero_grad()
        model.backward(loss.backward(1.0, saved_loss), saved)
        optimizer.step(model.param())
        total += float(value) * len(x)
    optimizer.end_epoch()
    if epoch % 20 == 19:
        print(f"epoch {epoch + 1:3}  loss {total / len(train):.5f}")

y = model(test.x)  # calling a model is inference: the output alone, in evaluation mode
print("errors on 1,000 other points:", cr.metrics.errors(y, test.target))
