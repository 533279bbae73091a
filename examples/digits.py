"""Real handwritten digits: 1,797 images of 8 x 8 pixels, which scikit-learn brings along.

Source    Alpaydin, Kaynak 1998, UCI "Optical recognition of handwritten digits"
"""

import chainrule as cr
from chainrule.extras import require  # imports, or says what to install

images, labels = require("sklearn.datasets", "sklearn").load_digits(return_X_y=True)
data = cr.Dataset(images / 16, labels)  # pixels are 0 … 16
train, test = data.split(0.75, seed=0)
train, validation = train.split(0.85, seed=1)

cr.seed(0)
model = cr.Sequential(
    cr.AdamW(lr=cr.CosineAnnealingLR(3e-3, T_max=60), weight_decay=0.05),
    cr.Linear(64, 128),
    cr.GELU(),
    cr.Dropout(0.3),
    cr.Linear(128, 64),
    cr.GELU(),
    cr.Dropout(0.3),
    cr.Linear(64, 10),
)
loss = cr.CrossEntropyLoss(label_smoothing=0.05)
history = cr.fit(
    model,
    loss,
    train,
    epochs=60,
    validation=validation,
    stop=cr.EarlyStopping(patience=20),
    metrics=[cr.metrics.accuracy],
)
result = cr.evaluate(model, loss, test)
print(history)
print(f"test accuracy {result.accuracy:.2%}: {result.errors} of {len(test)} digits are misread")
