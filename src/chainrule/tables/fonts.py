"""Letters that matplotlib's own font lacks, from other fonts of the machine, so that no picture has empty boxes."""

import functools
from pathlib import Path
from typing import Any

from ..extras import require

_NO_LETTERS = ("LastResort", "Emoji")  # fonts that have a box for everything, or pictures that cannot be drawn


def drawable(text: str) -> str:
    """The text, with the code of each letter that no font of this machine has: U+4FA1."""
    return " ".join(
        "".join(letter if _family(letter) is not None else f" U+{ord(letter):04X} " for letter in text).split()
    )


def use_fonts(figure: Any) -> None:
    """Let every text of a figure take the letters that its font lacks from others."""
    for text in figure.findobj(require("matplotlib.text", "plots").Text):
        if more := sorted({family for letter in text.get_text() if (family := _family(letter))}):
            text.set_fontfamily([*text.get_fontfamily(), *more])


@functools.cache
def _family(letter: str) -> str | None:
    """A font that has a letter: "" if that is the usual one, None if there is none."""
    fonts = require("matplotlib.font_manager", "plots")
    if letter.isspace() or ord(letter) in _letters(fonts.findfont(fonts.FontProperties())):
        return ""
    others = (
        font for font in fonts.fontManager.ttflist if not any(word in Path(font.fname).name for word in _NO_LETTERS)
    )
    return next((font.name for font in others if ord(letter) in _letters(font.fname)), None)


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """The letters of a font; none if it cannot be read."""
    try:
        return frozenset(require("matplotlib.font_manager", "plots").get_font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
