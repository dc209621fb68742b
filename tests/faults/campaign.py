"""What the fault campaign shares: what a study computed, and the table of what was tried."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from study import Study


def results(study: Study) -> dict[str, bytes]:
    """All artifacts and figures by name."""
    folder = study.folder / "results"
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


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
