"""What a table has that the training rows did not have."""

from collections import Counter
from dataclasses import dataclass, field

from .schema import counted, listed


@dataclass
class Notes:
    """What was found in a table that the training rows did not have; nothing of it stops a prediction."""

    unknown: dict[str, Counter[str]] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    infinite: dict[str, int] = field(default_factory=dict)
    outside: dict[str, tuple[int, str]] = field(default_factory=dict)
    other: list[str] = field(default_factory=list)

    def add(self, later: "Notes") -> None:
        """Count in what was found in a part of the table that comes later.

        Raises ValueError if that has to be read otherwise than the part before.
        """
        if differs := set(self.other) ^ set(later.other):
            raise ValueError(
                f"not all of the table is written alike ({sorted(differs)[0]}); say how it is, by --decimal or --date"
            )
        for name, counts in later.unknown.items():
            self.unknown[name] = self.unknown.get(name, Counter()) + counts
        for mine, others in ((self.missing, later.missing), (self.infinite, later.infinite)):
            mine |= {name: mine.get(name, 0) + count for name, count in others.items()}
        for name, (count, known) in later.outside.items():
            self.outside[name] = (self.outside.get(name, (0, known))[0] + count, known)

    def sentences(self) -> list[str]:
        """The same in words."""
        said = list(self.other)
        for name, counts in self.unknown.items():
            rows = counted(sum(counts.values()), "row")
            values = listed((value for value, _ in counts.most_common()), most=5)
            said.append(f"column `{name}`: {rows} with a category that training did not have: {values}")
        for name, count in self.missing.items():
            said.append(f"column `{name}`: {counted(count, 'row')} without a value, which training always had")
        for name, count in self.infinite.items():
            said.append(f"column `{name}`: {counted(count, 'row')} with an infinite number, taken as missing")
        for name, (count, known) in self.outside.items():
            said.append(f"column `{name}`: {counted(count, 'row')} far outside of what training had, {known}")
        return said
