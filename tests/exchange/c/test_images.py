"""Convolution, pools and normalization in C: drawn networks of series and images, and what is special to them."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from c_graphs import ACTIVATIONS
from c_programs import CHECKED, gcc, learner, selftests

import chainrule as cr
from chainrule.exchange.c import measure, to_c
from chainrule.exchange.c.kinds import RULES

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

SEEDS = range(60)


def seen(norm, rng):
    """A BatchNorm that has seen data."""
    n = norm.num_features
    norm.running_mean.value = rng.normal(size=n).astype("float32")
    norm.running_var.value = rng.uniform(0.1, 2.0, size=n).astype("float32")
    if norm.weight is not None:
        norm.weight.value[...] = rng.normal(size=n)
    if norm.bias is not None:
        norm.bias.value[...] = rng.normal(size=n)
    return norm


class Drawn:
    """A network that grows layer by layer over series or images, and ends in a few numbers."""

    def __init__(self, seed):
        self.seed, self.rng = seed, np.random.default_rng(seed)
        cr.seed(seed)
        self.axes = 1 + seed % 2
        self.sample_shape = self.shape = (int(self.rng.integers(1, 5)), *map(int, self.rng.integers(5, 10, self.axes)))
        self.layers = []
        for _ in range(self.rng.integers(2, 8)):
            self.grow(self.rng.integers(13))
        self.grow(9 if seed % 4 < 2 else 11)  # of which there are many kinds
        self.add(cr.Flatten())
        self.add(cr.Linear(self.shape[0], 4))
        if self.rng.random() < 0.5:
            self.add(seen(cr.BatchNorm1d(4, bias=bool(self.rng.integers(2))), self.rng))
        if self.rng.random() < 0.3:
            self.add(cr.LayerNorm(4, bias=bool(self.rng.integers(2))))
        self.model = cr.Sequential(*self.layers)

    def of(self, name, *arguments, **options):
        return getattr(cr, f"{name}{self.axes}d")(*arguments, **options)

    def one(self, options):
        return options[self.rng.integers(len(options))]

    def each(self, most, least=1):
        """An integer, or one for each axis."""
        found = tuple(map(int, self.rng.integers(least, most + 1, self.axes)))
        return found if self.rng.random() < 0.5 else found[0]

    def add(self, layer):
        """The layer, if it takes what there is."""
        try:
            shape = layer(np.zeros((1, *self.shape), "float32")).shape[1:]
        except ValueError:
            return
        if 0 not in shape:
            self.layers.append(layer)
            self.shape = shape

    def conv(self, n_out=None):
        groups = self.one([n for n in range(1, self.shape[0] + 1) if self.shape[0] % n == 0])
        options = {"groups": groups, "dilation": self.each(2), "bias": bool(self.rng.integers(3))}
        options |= self.one(
            [{"padding": "same"}, {"padding": "valid"}, {"stride": self.each(2), "padding": self.each(2, 0)}]
        )
        if n_out:
            options = {"groups": groups, "padding": "same"}
        if self.rng.random() < 0.3:
            options["padding_mode"] = self.one(["reflect", "replicate", "circular"])
        return self.of("Conv", self.shape[0], n_out or groups * int(self.rng.integers(1, 4)), self.each(3), **options)

    def norm(self):
        return seen(self.of("BatchNorm", self.shape[0], affine=bool(self.rng.integers(4))), self.rng)

    def grow(self, kind):
        ceil, kernel = bool(self.rng.integers(2)), self.each(3)
        half = min(kernel) // 2 if isinstance(kernel, tuple) else kernel // 2
        match kind:
            case 0 | 1:
                self.add(self.conv())
                if self.rng.random() < 0.5:
                    self.add(self.norm())
            case 2:
                self.add(self.norm())
            case 3:
                padding = self.each(half, 0)
                self.add(self.of("MaxPool", kernel, self.each(3), padding, dilation=self.each(2), ceil_mode=ceil))
            case 4:
                options = {"ceil_mode": ceil, "count_include_pad": bool(self.rng.integers(2))}
                if self.axes == 2 and self.rng.random() < 0.3:
                    options["divisor_override"] = 3
                self.add(self.of("AvgPool", kernel, self.each(2), self.each(half, 0), **options))
            case 5:
                out = self.one([1, self.each(4), None])
                self.add(self.of(self.one(["AdaptiveAvgPool", "AdaptiveMaxPool"]), out))
            case 6:
                body = [self.conv(self.shape[0]), self.norm(), self.one(ACTIVATIONS)()]
                self.add(cr.Residual(cr.Sequential(*body[: self.rng.integers(1, 4)])))
            case 7:
                over = self.one([self.shape, self.shape[-1:], self.shape[1:]])
                norm = cr.LayerNorm(
                    over, elementwise_affine=bool(self.rng.integers(3)), bias=bool(self.rng.integers(2))
                )
                for parameter in norm.param():
                    parameter.value[...] = self.rng.normal(size=parameter.shape)
                self.add(norm)
            case 8:
                self.add(self.one([self.one(ACTIVATIONS)(), self.of("Dropout", 0.5)]))
            case 9:
                ends = tuple(map(int, self.rng.integers(-1, 3, 2 * self.axes)))
                mode = ["Zero", "Constant", "Reflection", "Replication", "Circular"][self.seed // 2 % 5]
                self.add(self.of(f"{mode}Pad", ends, *[1.5] * (mode == "Constant")))
            case 10:
                options = self.one([{"scale_factor": 1.7}, {"size": self.each(9)}, {"scale_factor": 0.6}])
                self.add(cr.Upsample(**options, mode=self.one(["nearest", "nearest-exact"])))
            case 11:
                groups = self.one([n for n in range(1, self.shape[0] + 1) if self.shape[0] % n == 0])
                pixels = [cr.PixelShuffle(2), cr.PixelUnshuffle(2)] if self.axes == 2 else [cr.ChannelShuffle(groups)]
                if self.axes == 2:
                    self.add(cr.Conv2d(self.shape[0], 4, 1))
                    self.add(cr.AdaptiveAvgPool2d((4, 6)))
                self.add(self.one(pixels))
            case 12:
                n = self.shape[0]
                groups = self.one([m for m in range(1, n + 1) if n % m == 0])
                followed = self.of("InstanceNorm", n, affine=bool(self.rng.integers(2)), track_running_stats=True)
                over = {"elementwise_affine": bool(self.rng.integers(2)), "eps": self.one([None, 1e-3])}
                norms = [
                    cr.GroupNorm(groups, n, affine=bool(self.rng.integers(3)), bias=bool(self.rng.integers(2))),
                    self.of("InstanceNorm", n, affine=bool(self.rng.integers(2))),
                    seen(followed, self.rng),
                    cr.RMSNorm(self.one([self.shape, self.shape[-1:]]), **over),
                ]
                norm = self.one(norms)
                for parameter in norm.param():
                    parameter.value[...] = self.rng.normal(size=parameter.shape)
                self.add(norm)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    networks = [Drawn(seed) for seed in SEEDS]
    cases = [(one.model, {"sample_shape": one.sample_shape, "test_rows": 5}) for one in networks]
    return networks, selftests(tmp_path_factory.mktemp("images"), cases)


def test_drawn_networks_predict_what_python_does_under_the_sanitizers(drawn):
    _, done = drawn
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("5 rows agree with Python") == len(SEEDS)


def test_the_drawn_networks_have_what_they_are_drawn_for(drawn):
    networks, _ = drawn
    modules = [module for one in networks for module in one.model.modules()]
    counts = {kind: sum(type(module) is kind for module in modules) for kind in RULES}
    assert min(counts.values()) >= 2, counts
    convs = [module for module in modules if hasattr(module, "padding_mode")]
    for unusual in ("stride", "dilation"):
        assert sum(set(getattr(conv, unusual)) != {1} for conv in convs) >= 5, unusual
    assert sum(conv.groups > 1 for conv in convs) >= 5
    assert {"zeros", "reflect", "replicate", "circular"} == {conv.padding_mode for conv in convs}
    assert {"same", "valid"} <= {conv.padding for conv in convs}
    assert sum(getattr(module, "ceil_mode", False) for module in modules) >= 5


def said(folder, name="network"):
    gcc(*CHECKED, folder / f"{name}.c", folder / f"{name}_test.c", "-o", folder / "program")
    return subprocess.run([folder / "program"], capture_output=True, text=True, check=False)


def test_a_network_of_pytorch_says_the_same_in_c(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    theirs = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 12, 3, stride=2, groups=3, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.AvgPool2d(3, 2, 1),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(48, 10), nn.BatchNorm1d(10),
        nn.LogSoftmax(-1),
    )  # fmt: skip
    x = torch.randn(64, 1, 16, 16)
    for _ in range(3):
        theirs(x)  # which leaves statistics
    theirs.eval()
    to_c(cr.from_torch(theirs), tmp_path, sample_shape=(1, 16, 16), test_inputs=x[:8].numpy())
    assert "8 rows agree with Python" in said(tmp_path).stdout
    numbers = re.search(r"expected\[.*?\] = \{(.*?)\}", (tmp_path / "network_test.c").read_text(), re.DOTALL)[1]
    python = np.array([float(number) for number in numbers.split(",")]).reshape(8, 10)
    np.testing.assert_allclose(python, theirs(x[:8]).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert "scale_and_shift" not in (tmp_path / "network.c").read_text()
    n = 6 * 25 + 6 + 12 * 2 * 9 + 12 + 10 * 48 + 10  # the second bias is that of the normalization
    assert f" * {n} parameters, {4 * n:,} bytes." in (tmp_path / "network.h").read_text()


def conv(n_in=3, n_out=4, **options):
    return cr.Conv2d(n_in, n_out, 3, padding=1, **options)


def of_images(*layers):
    """A network whose last layers make three numbers of four channels of 4 × 4."""
    return cr.Sequential(*layers, cr.AdaptiveAvgPool2d(1), cr.Flatten(), cr.Linear(4, 3))


@pytest.mark.parametrize(
    ("made", "times"),
    [
        (lambda rng: of_images(conv(), seen(cr.BatchNorm2d(4), rng)), 0),
        (lambda rng: of_images(conv(bias=False), seen(cr.BatchNorm2d(4), rng), seen(cr.BatchNorm2d(4), rng)), 0),
        (lambda rng: cr.Sequential(cr.Flatten(), cr.Linear(48, 4), seen(cr.BatchNorm1d(4), rng)), 0),
        # What comes first, behind an activation, or where others read what is before it, has no weights to be within.
        (lambda rng: of_images(seen(cr.BatchNorm2d(3), rng), conv()), 1),
        (lambda rng: of_images(conv(), cr.Tanh(), seen(cr.BatchNorm2d(4), rng)), 1),
        (lambda rng: of_images(conv(), cr.Residual(seen(cr.BatchNorm2d(4), rng))), 1),
        (lambda rng: of_images(*[conv(3, 3)] * 2, seen(cr.BatchNorm2d(3), rng), conv()), 1),
        # Nor has what makes other channels.
        (lambda rng: of_images(cr.Flatten(), cr.Linear(48, 48), cr.Unflatten(1, (3, 16)), seen(cr.BatchNorm1d(3), rng),
                               cr.Unflatten(2, (4, 4)), conv()), 1),
        (lambda rng: cr.Sequential(conv(), cr.Flatten(), seen(cr.BatchNorm1d(64), rng), cr.Linear(64, 2)), 1),
        # A Linear along the last axis gives each row, not each channel, weights of its own.
        (lambda rng: of_images(cr.Unflatten(1, (3, 4)), cr.Flatten(3), cr.Flatten(2), cr.Linear(16, 16),
                               seen(cr.BatchNorm1d(3), rng), cr.Unflatten(2, (4, 4)), conv()), 1),
    ],
)  # fmt: skip
def test_a_batch_norm_is_within_the_weights_before_it_where_that_is_possible(tmp_path, made, times):
    cr.seed(0)
    model = made(np.random.default_rng(0))
    shape = (12, 4) if isinstance(model[0], cr.Unflatten) else (3, 4, 4)
    to_c(model, tmp_path, sample_shape=shape)
    assert "32 rows agree with Python" in said(tmp_path).stdout
    body = (tmp_path / "network.c").read_text().split("void network_predict(")[1]
    assert body.count("scale_and_shift(") == times


def test_the_stack_holds_what_is_alive_at_one_time_and_the_header_counts_it(tmp_path):
    cr.seed(0)
    model = cr.Sequential(
        cr.Conv2d(1, 4, 3), cr.BatchNorm2d(4), cr.ReLU(), cr.MaxPool2d(2), cr.Conv2d(4, 6, 3), cr.ReLU(), cr.Flatten(),
        cr.Linear(6 * 3 * 3, 2),
    )  # fmt: skip
    to_c(model, tmp_path, sample_shape=(1, 12, 12))
    body = (tmp_path / "network.c").read_text().split("void network_predict(")[1]
    assert [int(n) for n in re.findall(r"^    float \w\[(\d+)\];", body, re.MULTILINE)] == [4 * 10 * 10, 4 * 5 * 5]
    header = (tmp_path / "network.h").read_text()
    assert "Takes about 2,000 bytes of stack." in header
    assert "#define NETWORK_INPUTS 144 /* 1 x 12 x 12, the last axis first */" in header
    found = measure(tmp_path)
    assert found.data >= 4 * (model.num_parameters - 8)
    assert "32 rows agree" in found.test


def test_the_largest_of_a_window_with_nan_is_nan(tmp_path):
    model = cr.Sequential(cr.MaxPool1d(3), cr.Flatten(), cr.Linear(2, 2, weight=np.eye(2), bias=[0.0, 0.0]))
    cr_learner = learner(tmp_path, model, cr.MSELoss(), cr.SGD(), sample_shape=(1, 6))
    for at in range(3):
        row = np.array([[1, 5, 2, 7, 1, 1]], "float32")
        row[0, at] = np.nan
        y = cr_learner.predict(row)
        assert np.isnan(y[0])  # and 0 · NaN in the second


def test_what_is_frozen_below_a_head_that_learns_may_be_images(tmp_path):
    cr.seed(0)
    body = cr.Sequential(cr.Conv2d(1, 4, 3), cr.ReLU(), cr.MaxPool2d(2), cr.Conv2d(4, 5, 2), cr.Tanh(), cr.Flatten())
    model = cr.Sequential(body.freeze(), cr.Linear(20, 6), cr.Tanh(), cr.Linear(6, 2))
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(12, 1, 8, 8)).astype("f4"), rng.normal(size=(12, 2)).astype("f4")
    options = {"loss": cr.MSELoss(), "optimizer": cr.Adam(0.01), "sample_shape": (1, 8, 8), "test_rows": 7}
    to_c(model, tmp_path, **options)
    done = said(tmp_path)
    assert "2 training steps agree with Python" in done.stdout, done.stdout
    c = learner(tmp_path, model, cr.MSELoss(), cr.Adam(0.01), sample_shape=(1, 8, 8))
    for at in range(0, 12, 4):
        c.step(x[at : at + 4], target[at : at + 4])
    options = {"epochs": 1, "batch_size": 4, "shuffle": False, "keep": "last", "engine": "python"}
    cr.fit(model, cr.MSELoss(), (x, target), optimizer=cr.Adam(0.01), **options)
    for mine, parameter in zip(c.arrays("parameters"), [*model[1].param(), *model[3].param()], strict=True):
        np.testing.assert_allclose(mine, parameter.value, rtol=1e-4, atol=1e-5)


def test_the_head_of_a_network_whose_batch_norm_is_folded_learns(tmp_path):
    cr.seed(0)
    model = of_images(conv(), seen(cr.BatchNorm2d(4), np.random.default_rng(0)), cr.ReLU())
    folded = cr.fold_batch_norm(model)
    folded[0].freeze()
    to_c(folded, tmp_path, sample_shape=(3, 4, 4), loss=cr.MSELoss(), optimizer=cr.SGD(0.1))
    assert "8 training steps agree with Python" in said(tmp_path).stdout
    assert measure(tmp_path).state == 4 * (2 * 15 + 2)


def test_a_layer_norm_that_stands_twice_is_written_once(tmp_path):
    cr.seed(0)
    norm = cr.LayerNorm(6)
    to_c(cr.Sequential(cr.Linear(6, 6), norm, cr.Tanh(), norm, cr.Linear(6, 2)), tmp_path)
    assert (tmp_path / "network.c").read_text().count("static const float network_parameter_") == 6
    assert "32 rows agree" in said(tmp_path).stdout


MUTANTS = [
    ("the padding", "k * dilation_y - padding_y, before", "k * dilation_y + padding_y, before"),
    ("the stride", "(i * stride_y + above) * width", "(i + above) * width"),
    ("the group", "o / (filters / groups) * n + c", "c"),
    ("the order of weights", "(l * kernel_height + k) * n + c", "(k * kernel_width + l) * n + c"),
    ("the bias", "bias ? bias[o] :", "bias ? -bias[o] :"),
    ("the largest", "one > *y || one", "one < *y || one"),
    ("the padding of a mean", "with_padding ? all : n", "with_padding ? n : all"),
    ("windows that cover", "((i + 1) * height + out_height - 1) / out_height", "(i + 1) * height / out_height"),
    ("the shift", "+ shift[c]", "- shift[c]"),
    ("the deviation", "squares / (float)n + eps", "squares + eps"),
    ("the weight behind it", "(weight ? weight[i] :", "(weight ? -weight[i] :"),
    ("the root of a mean", "s * (weight ? weight[i] : 1.0f);", "s * s * (weight ? weight[i] : 1.0f);"),
    ("the groups", "i * 98, 98, ", "i * 98, 49, "),
    ("what is around", "rows[i] < 0 || columns[j] < 0 ? value", "rows[i] < 0 || columns[j] < 0 ? -value"),
    ("the largest that covers", "x[k * width + l] > most", "x[k * width + l] < most"),
]


@pytest.fixture(scope="module")
def mutants(tmp_path_factory):
    cr.seed(0)
    rng = np.random.default_rng(0)
    norm = cr.LayerNorm(7, weight=rng.normal(size=7))
    pools = [cr.MaxPool2d(2, 1), cr.AvgPool2d(3, 2, 1), seen(cr.BatchNorm2d(4), rng), cr.AdaptiveAvgPool2d(3)]
    pools += [cr.ConstantPad2d(2, 0.7), cr.GroupNorm(2, 4), cr.RMSNorm(7), cr.AdaptiveMaxPool2d(3)]
    first = cr.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2)
    model = cr.Sequential(norm, first, cr.Tanh(), *pools, cr.Flatten(), cr.Linear(36, 2))
    cases = [(model, {"sample_shape": (2, 9, 7)})] * len(MUTANTS)

    def wrong(i, text):
        assert MUTANTS[i][1] in text
        return text.replace(*MUTANTS[i][1:])

    done = selftests(tmp_path_factory.mktemp("mutants"), cases, wrong)
    return dict(zip([label for label, *_ in MUTANTS], done.stdout.split("====\n"), strict=False))


@pytest.mark.parametrize("label", [label for label, *_ in MUTANTS])
def test_the_self_test_fails_where_an_image_is_seen_wrong(mutants, label):
    assert re.search(r"row \d+, output \d is .* but Python says .*\n1\n$", mutants[label])


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        (of_images(cr.Conv2d(3, 4, 3, padding=4, padding_mode="reflect")), {}, "no C for Conv2d.*on samples of shape"),
        (of_images(conv(), cr.ReflectionPad2d(4)), {}, r"no C for ReflectionPad2d.*on samples of shape \(4, 4, 4\)"),
        (of_images(conv(), cr.ZeroPad2d((-2, -2, 0, 0))), {}, "no C for ZeroPad2d, which leaves nothing"),
        (of_images(conv(), cr.Upsample(scale_factor=2, mode="bilinear")), {}, "no C for Upsample.*bilinear"),
        (of_images(conv(), cr.PixelUnshuffle(3)), {}, "no C for PixelUnshuffle"),
        (of_images(conv(), cr.AdaptiveMaxPool2d(2, return_indices=True)), {}, "AdaptiveMaxPool2d with return_indices"),
        (of_images(conv(2)), {}, r"no C for Conv2d\(2, 4, .*\) on samples of shape \(3, 4, 4\)"),
        (of_images(cr.Conv2d(3, 4, 7)), {}, r"no C for Conv2d.* in which its kernel has no room"),
        (of_images(cr.MaxPool2d(5)), {}, r"no C for MaxPool2d\(kernel_size=5.*on samples of shape \(3, 4, 4\)"),
        (of_images(cr.MaxPool2d(2, return_indices=True)), {}, "no C for MaxPool2d with return_indices"),
        (of_images(conv(), cr.BatchNorm2d(4, track_running_stats=False)), {}, "no C for BatchNorm2d.* no running stat"),
        (of_images(conv(), cr.BatchNorm2d(3)), {}, r"no C for BatchNorm2d.*on samples of shape \(4, 4, 4\)"),
        (of_images(conv(), cr.LayerNorm((4, 5))), {}, r"no C for LayerNorm.*on samples of shape \(4, 4, 4\)"),
        (of_images(conv(), cr.GroupNorm(2, 6)), {}, r"no C for GroupNorm.*on samples of shape \(4, 4, 4\)"),
        (cr.Sequential(cr.Flatten(), cr.Linear(48, 4), cr.InstanceNorm1d(4)), {}, "no C for InstanceNorm1d.*shape"),
        (of_images(conv(), cr.ConvTranspose2d(4, 4, 2)), {}, "no C for .*ConvTranspose2d"),
        (of_images(conv()), {"sample_shape": None}, "the shape of the samples that Conv2d gets; sample_shape="),
        (of_images(conv()), {"loss": cr.MSELoss()}, r"no C for Conv2d\(.*\) in a training step"),
        (of_images(conv().freeze(), cr.BatchNorm2d(4)), {"loss": cr.MSELoss()}, "BatchNorm2d.* in a training step"),
        (of_images(conv().freeze(), cr.LayerNorm(4)), {"loss": cr.MSELoss()}, "LayerNorm.* in a training step"),
        (of_images(conv().freeze(), cr.Dropout2d()), {"loss": cr.MSELoss()}, "Dropout2d.* in a training step"),
        (cr.Sequential(cr.Linear(4, 4), cr.MaxPool2d(2), cr.Flatten(), cr.Linear(12, 1)), {"loss": cr.MSELoss()},
         "no C for MaxPool2d.* in a training step"),
    ],
)  # fmt: skip
def test_what_c_does_not_know_of_images_is_refused_by_name(tmp_path, model, options, says):
    options = {"sample_shape": (3, 4, 4), **options}
    if "loss" in options:
        options["optimizer"] = cr.SGD()
    with pytest.raises(ValueError, match=f"to_c: .*{says}"):
        to_c(model, tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()
