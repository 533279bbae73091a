"""Who is speaking? Nine men say the same two vowels, and 1-d convolutions tell them apart by their voices.

It also shows when: the network takes the mean over time, so that each moment has its share in what it says.

Source    Kudo, Toyama, Shimbo 1999, UCI "Japanese vowels", CC BY 4.0: 12 cepstral coefficients every 6.4 ms, a part to
          learn from and a part to be judged by. They come out of sktime, which needs little but scikit-learn and
          pandas, where other packages with real series need numba; only its files are read
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule.extras import require  # imports, or says what to install

LONGEST = 29


def read(part: str) -> cr.Dataset:
    """Utterances (n, 12, 29), zeros behind their ends, and their speakers, 0 … 8."""
    sktime = find_spec("sktime")
    if sktime is None or sktime.origin is None:
        raise ModuleNotFoundError("the utterances come with sktime, which is not installed: pip install sktime")
    path = Path(sktime.origin).parent / f"datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts"
    lines = path.read_text("utf-8").split("@data\n")[1].splitlines()
    x, speakers = np.zeros((len(lines), 12, LONGEST), "float32"), np.zeros(len(lines), int)
    for utterance, line in enumerate(lines):
        *channels, speaker = line.split(":")
        series = np.array([channel.split(",") for channel in channels], "float32")
        x[utterance, :, : series.shape[1]], speakers[utterance] = series, int(speaker) - 1
    return cr.Dataset(x, speakers)


train, test = read("TRAIN"), read("TEST")
cr.seed(0)
features = cr.Sequential(
    cr.BatchNorm1d(12),  # the coefficients are of very different sizes
    cr.Conv1d(12, 64, 3, padding=1),
    cr.BatchNorm1d(64),
    cr.ReLU(),
    cr.MaxPool1d(2),
    cr.Conv1d(64, 128, 3, padding=1),
    cr.BatchNorm1d(128),
    cr.ReLU(),
)
speakers = cr.Linear(128, 9)
model = cr.Sequential(
    cr.AdamW(lr=cr.CosineAnnealingLR(3e-3, T_max=40), weight_decay=0.05),
    features,
    cr.AdaptiveAvgPool1d(1),  # the mean over time
    cr.Flatten(),
    cr.Dropout(0.2),
    speakers,
)
loss = cr.CrossEntropyLoss(label_smoothing=0.05)
history = cr.fit(model, loss, train, epochs=40, batch_size=16, keep="last")
result = cr.evaluate(model, loss, test, metrics=[cr.metrics.accuracy])
print(history)
print(f"test accuracy {result.accuracy:.2%}: {result.errors} of {len(test)} utterances are taken for another man's")

if __name__ == "__main__":
    plt = require("matplotlib.pyplot", "plots")
    x = test.x[[np.flatnonzero(test.target == speaker)[0] for speaker in range(9)]]
    votes = np.einsum("sc,nct->nst", speakers.weight.value, features(x))  # their mean, and the bias, is what is said
    own = np.eye(9, dtype=bool)
    margins = votes[own] - votes[~own].reshape(9, 8, -1).max(axis=1)
    seen = np.where(x.any(axis=1, keepdims=True), features[0](x), np.nan)
    figure = plt.figure(figsize=(10, 7.5), layout="constrained")
    for speaker, place in enumerate(figure.subfigures(3, 3).flat):
        above, below = place.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        above.imshow(seen[speaker], cmap="coolwarm", vmin=-2.5, vmax=2.5, aspect="auto")
        above.set_title(f"speaker {speaker + 1}", fontsize=10)
        margin, at = margins[speaker], 2 * np.arange(len(margins[speaker])) + 0.5
        below.fill_between(at, margin, where=margin >= 0, color="#009E73", interpolate=True)
        below.fill_between(at, margin, where=margin <= 0, color="#D55E00", interpolate=True)
        below.axhline(0, color="black", linewidth=0.8)
        below.set_ylim(margins.min(), margins.max())
        for axes in (above, below):
            axes.set(yticks=[], xticks=[])
            axes.spines[:].set_visible(False)
    figure.suptitle("what nine men said, 12 coefficients over time, and when it spoke for them (green) or for another")
    figure.savefig("vowels.png", dpi=100)
    print("picture: vowels.png")
