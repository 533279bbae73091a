"""Real handwritten digits again, by convolution: the network finds filters of its own, and here they are.

Source    Alpaydin, Kaynak 1998, UCI "Optical recognition of handwritten digits", as scikit-learn brings them along
"""

import numpy as np

import chainrule as cr
from chainrule.extras import require  # imports, or says what to install

images, labels = require("sklearn.datasets", "sklearn").load_digits(return_X_y=True)
data = cr.Dataset((images / 16).reshape(-1, 1, 8, 8), labels)  # (batch, channels, height, width)
train, test = data.split(0.75, seed=0)

# A digit that is moved by a pixel is the same digit: five times as much to learn from.
wide = cr.ZeroPad2d(1)(train.x)
moved = [wide[:, :, i : i + 8, j : j + 8] for i, j in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
train = cr.Dataset(np.concatenate(moved), np.tile(train.target, 5))

cr.seed(0)
model = cr.Sequential(
    cr.AdamW(lr=cr.CosineAnnealingLR(5e-3, T_max=5), weight_decay=0.05),
    cr.Conv2d(1, 16, 5, padding=2),  # 16 filters of 5 by 5 pixels, which look at every place
    cr.ReLU(),
    cr.Conv2d(16, 32, 3, padding=1),
    cr.ReLU(),
    cr.MaxPool2d(2),
    cr.Flatten(),
    cr.Dropout(0.4),
    cr.Linear(32 * 4 * 4, 10),
)
loss = cr.CrossEntropyLoss(label_smoothing=0.05)
cr.fit(model, loss, train, epochs=5, keep="last")
result = cr.evaluate(model, loss, test, metrics=[cr.metrics.accuracy])
print(model)
print(f"test accuracy {result.accuracy:.2%}: {result.errors} of {len(test)} digits are misread")

if __name__ == "__main__":
    plt = require("matplotlib.pyplot", "plots")
    digit = test.x[:1]
    filters, seen = model[0].weight.value[:, 0], model[1](model[0](digit))[0]
    figure, places = plt.subplots(4, 9, figsize=(9, 4.4), layout="constrained")
    for row, shown in enumerate((filters[:8], seen[:8], filters[8:], seen[8:])):
        for place, image in zip(places[row, 1:], shown, strict=True):
            most = abs(image).max()
            place.imshow(image, cmap="gray_r" if row % 2 else "coolwarm", vmin=0 if row % 2 else -most, vmax=most)
    for place in places[1::2, 0]:
        place.imshow(digit[0, 0], cmap="gray_r")
    for place in places.flat:
        place.axis("off")
    figure.suptitle("filters that the network has found, and what each sees of the digit on the left")
    figure.savefig("filters.png", dpi=100)
    print("picture: filters.png")
