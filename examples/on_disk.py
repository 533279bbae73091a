"""A network trained from files, larger than the memory that it may take.

    python examples/on_disk.py [GB]

Writes parts of samples to a folder that is deleted in the end, trains from them, and says how much memory that took.
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np

import chainrule as cr

PART = 100_000  # samples


def write(folder: Path, parts: int) -> None:
    """Parts of samples (x0, …, x31) in float16, whose target is the sine of a sum."""
    weight = np.random.default_rng(0).normal(size=(32, 1)) / 4
    for i in range(parts):
        x = np.random.default_rng(i).normal(size=(PART, 32)).astype(np.float16)
        np.savez(folder / f"part-{i}.npz", x=x, target=np.sin(x.astype(np.float32) @ weight).astype(np.float16))


def main() -> None:
    """Write, train, tell."""
    gb = float(sys.argv[1]) if len(sys.argv) > 1 else 0.1
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), max(2, round(gb * 1e9 / (2 * 33 * PART))))
        train, held_out = cr.Dataset.open(folder).split(0.95, seed=0)
        print(train)
        model = cr.Sequential(cr.Linear(32, 64, rng=0), cr.Tanh(), cr.Linear(64, 1, rng=1))
        history = cr.fit(
            model, cr.MSELoss(), train, validation=held_out, optimizer=cr.Adam(lr=0.002), batch_size=256, epochs=3
        )
        print(f"{history}\n{memory()}")


def memory() -> str:
    """The most memory that this process has had, where the system tells it, up to the next hundred MB."""
    try:
        import resource
    except ImportError:  # Windows
        return "how much memory it took, this system does not tell"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"memory: at most {math.ceil(peak / 1e8) * 100} MB"


if __name__ == "__main__":
    main()
