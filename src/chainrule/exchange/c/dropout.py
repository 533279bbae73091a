"""Dropout in C: the masks of Python and of the engine, bit for bit."""

from typing import Any

from ... import layers
from ...engine.plan import Op, Plan, Value
from ...engine.rules.rule import Handle, Lowering, Rule, name_of
from ...structures import Structure
from .body import Body, Place, Way
from .functions import COPY
from .kind import Kind
from .spelling import short

PHILOX = """\
/* Four random words, a pure function of their address: seven rounds of Philox4x32 (Salmon et al. 2011). */
static void philox(uint64_t seed, uint32_t block, uint32_t pass, uint32_t stream, uint32_t word[4])
{
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t c0 = block, c1 = pass, c2 = 0, c3 = stream;
    int round;
    for (round = 0; round < 7; round++) {
        const uint64_t product0 = (uint64_t)0xD2511F53 * c0, product1 = (uint64_t)0xCD9E8D57 * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ key0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ key1;
        c3 = (uint32_t)product0;
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}
"""

DROPOUT = """\
/* x times the mask of a row: 0 with probability threshold / 65536, else scale. The mask is not kept but drawn again on
 * the way back. Number e of a batch draws 16 bits, half a word, and a block has eight of them. */
static void dropout(float *x, int n, uint32_t threshold, float scale, uint64_t seed, uint32_t pass, uint32_t stream,
                    int row)
{
    uint32_t word[4] = {0, 0, 0, 0};
    int i;
    for (i = 0; i < n; i++) {
        const uint32_t e = (uint32_t)row * (uint32_t)n + (uint32_t)i;
        if (i == 0 || e % 8 == 0)
            philox(seed, e / 8, pass, stream, word);
        x[i] *= (word[e % 8 / 2] >> 16 * (e % 2) & 0xFFFF) >= threshold ? scale : 0.0f;
    }
}
"""


class Dropout(Kind):
    """In place; the mask is not kept, but drawn again on the way back."""

    def vanishes(self, learns: bool) -> bool:
        return not learns

    def offsets(self, op: Op, values: tuple[Value, ...]) -> list[int | None]:
        return [0]

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        if x[0] != y:
            body.call((COPY,), x[0], y, body.values[op.output].size)
        self._mask(body, op, y)

    def backward(self, way: Way, op: Op, x: list[Place], y: Place) -> None:
        self._mask(way, op, way.dy)
        way.hand(0)

    def _mask(self, body: Body, op: Op, place: Place) -> None:
        """The mask of the layer that is number `stream` among those that draw, put on a row."""
        threshold = round(op.settings["p"] * 2**16)
        scale = short(2**16 / max(2**16 - threshold, 1))
        address = "state->seed", "state->steps", 1 + op.settings["stream"], "row"
        body.call((PHILOX, DROPOUT), place, body.values[op.output].size, threshold, scale, *address)


class OfChannels(Kind):
    """Dropout of whole channels, which training steps do not have."""

    steps = False

    def vanishes(self, learns: bool) -> bool:
        return not learns


def _of_channels(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    return lowering.alike(name_of(layer), layer, x)


KINDS = {"Dropout": Dropout(), "Dropout1d": OfChannels(), "Dropout2d": OfChannels()}
RULES: dict[type, Rule] = {layers.Dropout1d: _of_channels, layers.Dropout2d: _of_channels}


def draws(plan: Plan) -> bool:
    """Whether a mask is drawn anywhere."""
    return any(isinstance(KINDS.get(op.kind), Dropout) for op in plan.ops)
