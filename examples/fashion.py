"""A small ResNet on 70,000 pictures of clothes: `make fashion`, some minutes; what it takes for what, as a picture.

Needs Debian's package of the images: apt install dataset-fashion-mnist.

Source    Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
          algorithms"; the network after He, Zhang, Ren, Sun 2016, "Deep residual learning for image recognition"
"""

import gzip
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule.extras import require  # imports, or says what to install

FOLDER = Path("/usr/share/datasets/fashion-mnist")
NAMES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def read(part: str) -> cr.Dataset:
    """Images (n, 1, 28, 28) from 0 to 1 and their classes, in the format of MNIST: numbers behind a head."""
    if not FOLDER.exists():
        raise SystemExit(f"{FOLDER} is not there: sudo apt install dataset-fashion-mnist")
    pixels, labels = (
        np.frombuffer(gzip.decompress((FOLDER / f"{part}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=head)
        for name, head in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return cr.Dataset(pixels.reshape(-1, 1, 28, 28) / np.float32(255), labels.astype(np.int64))


def conv(n_in: int, n_out: int, stride: int = 1) -> list[cr.Module]:
    """A convolution and what keeps its channels in bounds, whose bias makes another one needless."""
    return [cr.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False), cr.BatchNorm2d(n_out)]


def block(n: int) -> list[cr.Module]:
    """Two convolutions, and a way around them."""
    return [cr.Residual(cr.Sequential(*conv(n, n), cr.ReLU(), *conv(n, n))), cr.ReLU()]


train, test = read("train"), read("t10k")
mirrored = cr.Dataset(np.concatenate([train.x, train.x[..., ::-1]]), np.tile(train.target, 2))
cr.seed(0)
EPOCHS, BATCH = 5, 128
model = cr.Sequential(
    cr.SGD(
        lr=cr.OneCycleLR(0.2, total_steps=EPOCHS * -(-len(mirrored) // BATCH), cycle_momentum=False),
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
    ),
    *conv(1, 16), cr.ReLU(), *block(16),
    *conv(16, 32, stride=2), cr.ReLU(), *block(32),
    *conv(32, 64, stride=2), cr.ReLU(), *block(64),
    cr.AdaptiveAvgPool2d(1), cr.Flatten(), cr.Linear(64, 10),
)  # fmt: skip
loss = cr.CrossEntropyLoss(label_smoothing=0.05)
history = cr.fit(model, loss, mirrored, epochs=EPOCHS, batch_size=BATCH, keep="last", progress=True)
result = cr.evaluate(model, loss, test, metrics=[cr.metrics.accuracy])
print(history)
print(f"{model.num_parameters:,} parameters, test accuracy {result.accuracy:.2%}")

if __name__ == "__main__":
    plt = require("matplotlib.pyplot", "plots")
    y = cr.predict(model, test.x)
    said, sure = y.argmax(axis=1), cr.Softmax()(y).max(axis=1)
    figure = plt.figure(figsize=(12.5, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.05))

    counts = np.zeros((10, 10), int)
    np.add.at(counts, (test.target, said), 1)
    place = left.subplots()
    place.imshow(np.sqrt(counts), cmap="Blues")  # the root shows the few beside the many
    for (row, column), count in np.ndenumerate(counts):
        if count:
            place.text(
                column, row, count, ha="center", va="center", color="white" if count > 300 else "black", fontsize=8
            )
    place.set_xticks(range(10), NAMES, rotation=45, ha="right")
    place.set_yticks(range(10), NAMES)
    place.set(xlabel="read as", ylabel="what it is", title=f"{result.accuracy:.2%} of 10,000 are read right")

    wrong = np.flatnonzero(said != test.target)
    wrong = wrong[np.argsort(-sure[wrong])][:25]
    right.suptitle("the mistakes of which the network is surest")
    for place, i in zip(right.subplots(5, 5).flat, wrong, strict=True):
        place.imshow(test.x[i, 0], cmap="gray_r")
        place.set_title(f"{NAMES[test.target[i]]},\nread as {NAMES[said[i]]}", fontsize=8)
        place.axis("off")
    figure.savefig("fashion.png", dpi=100)
    print("picture: fashion.png")
