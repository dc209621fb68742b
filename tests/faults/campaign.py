"""The table of what the fault campaign tried."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """How many faults of each kind were tried, how many files differed, and how long it took."""

    faults: Counter[str] = field(default_factory=Counter)
    differ: int = 0
    started: float = field(default_factory=time.monotonic)

    def tried(self, kind: str, count: int = 1) -> None:
        self.faults[kind] += count

    def differing(self, names: list[str]) -> None:
        self.differ += len(names)

    def table(self) -> str:
        """Markdown; every fault in it was survived, as a test that fails stops the count."""
        minutes = (time.monotonic() - self.started) / 60
        lines = ["| fault | tried |", "|---|---|"]
        lines += [f"| {kind} | {count} |" for kind, count in sorted(self.faults.items())]
        lines.append(f"| together | {sum(self.faults.values())} |")
        lines.append(f"| files that differed from the undisturbed run | {self.differ} |")
        lines.append(f"| minutes | {minutes:.0f} |")
        return "\n".join(lines) + "\n"
