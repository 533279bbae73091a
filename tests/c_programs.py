"""C that an export has written, compiled as strictly as can be, and what it says."""

import ctypes
import re
import subprocess

import numpy as np
import pytest

from chainrule.exchange.c import to_c
from chainrule.structures import leaves

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wdouble-promotion", "-Wshadow"]
CHECKED = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def gcc(*arguments):
    done = subprocess.run(["gcc", *STRICT, *map(str, arguments), "-lm"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def joined(texts):
    """Files of C as one, which is quicker to compile; what they call the same and is not gets a name for each file."""
    said = {}
    for text in texts:
        for block in text.split("\n\n"):
            for name in re.findall(r"^static .*?(\w+)[(\[;]|^    (PARAMETER_\d+) =", block, re.MULTILINE):
                said.setdefault("".join(name), set()).add(block)
    own = {name for name, blocks in said.items() if len(blocks) > 1 or f"{name}(" not in min(blocks)}
    while more := {name for name in said.keys() - own if own & set(re.findall(r"\w+", min(said[name])))}:
        own |= more
    lines, shared = [], set()
    for i, text in enumerate(texts):
        for block in text.split("\n\n"):
            if block not in shared:
                lines.append(re.sub(rf"\b({'|'.join(own)})\b", rf"\1_of_{i}", block) if own else block)
            if any(block in said[name] for name in said.keys() - own):
                shared.add(block)
    return "\n\n".join(lines)


ENDED = """
static int ended(int status)
{
    printf("%d\\n====\\n", status);
    return status;
}
"""


def selftests(folder, cases, edited=lambda i, text: text):
    """What the self-tests of (model, options) say as one program, under the sanitizers: each ends with its exit status.

    edited : what becomes of a source before, by its place.
    """
    texts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)  # nobody pulls the plug
        patch.setattr("chainrule.exchange.c.source.prefixed", lambda _, source: source)  # `joined` finds what is shared
        for i, (model, options) in enumerate(cases):
            _, source, program = to_c(model, folder, name=f"case_{i}", **options)
            texts += [edited(i, source.read_text()), program.read_text().replace("int main(", f"int main_{i}(")]
    declared = [f"int main_{i}(int argc, char **argv);" for i in range(len(cases))]
    calls = [f"    failed += ended(main_{i}(argc, argv));" for i in range(len(cases))]
    main = ["int main(int argc, char **argv)", "{", "    int failed = 0;", *calls, "    return failed;", "}"]
    (folder / "all.c").write_text("\n".join([*declared, joined(texts), ENDED, *main]))
    gcc(*CHECKED, folder / "all.c", "-o", folder / "all")
    return subprocess.run([folder / "all"], capture_output=True, text=True, check=False)


class Learner:
    """The C functions of a network, and its state."""

    def __init__(self, library, header, model):
        text, n = header.read_text(), sum(parameter.size for parameter in model.param() if parameter.trainable)
        arrays = re.findall(r"^    float (\w+)\[\w+_PARAMETERS\]", text, re.MULTILINE)
        rates = re.search(r"_RATES (\d+)", text)
        fields = [(array, ctypes.c_float * n) for array in arrays]
        fields += [("lr", ctypes.c_float * int(rates[1]) if rates else ctypes.c_float)]
        fields += [("steps", ctypes.c_uint32), ("seed", ctypes.c_uint64)]
        self.state = type("State", (ctypes.Structure,), {"_fields_": fields})()
        self.model, self.library, self.name = model, library, header.stem
        self.call("init")

    def call(self, function, *arguments, returns=None):
        function = getattr(self.library, f"{self.name}_{function}")
        function.restype = returns
        return function(ctypes.byref(self.state), *arguments)

    def step(self, x, target):
        """One on these rows; several inputs and targets are given as Python takes them."""
        read = [array.astype(np.float32) for array in leaves(x)]
        read += [array.astype(np.int32 if array.dtype.kind == "i" else np.float32) for array in leaves(target)]
        return self.call("step", *map(_pointer, read), len(leaves(x)[0]), returns=ctypes.c_float)

    def predict(self, row):
        y = np.empty(self.model(row[None]).shape[1], np.float32)
        self.call("predict_with", _pointer(row), _pointer(y))
        return y

    def arrays(self, name):
        """Numbers of the state as arrays like the parameters that are trained."""
        numbers, found = np.array(getattr(self.state, name)), []
        for parameter in self.model.param():
            if not parameter.trainable:
                continue
            part, numbers = np.split(numbers, [parameter.size])
            found.append(part.reshape(parameter.shape[::-1]).T)
        return found


def _pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def learner(folder, model, loss, optimizer, *flags, **options):
    """The C functions of one network, compiled with these flags, and its state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.exchange.c.source.selftest", lambda *_: "")  # it is the functions that are looked at
        to_c(model, folder, loss=loss, optimizer=optimizer, **options)
    gcc(*(flags or ["-O2"]), "-fPIC", "-c", folder / "network.c", "-o", folder / "network.o")
    # Linked without them: a library that is linked with -Ofast has the whole process round what is tiny to 0.
    gcc("-shared", folder / "network.o", "-o", folder / "network.so")
    return Learner(ctypes.CDLL(str(folder / "network.so")), folder / "network.h", model)
