"""One scenario on its way through the rounds: what was seen so far, saved after each of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .build import UnavailableError
from .contestants import BY_KEY, Interpreters
from .measure import Record, measure, measure_pair
from .process import FailedError
from .scenarios import Scenario

ROOT = Path(__file__).resolve().parent.parent


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    """Return its text without the paths of this machine: it goes into a report that others read."""
    text = str(error) if isinstance(error, (UnavailableError, FailedError)) else f"{type(error).__name__}: {error}"
    return text.replace(f"{ROOT}/", "").replace(f"{Path.home()}/", "~/")


@dataclass
class Course:
    """The records of one scenario, round after round.

    Attributes:
        work: The scenario, at the size at which it is measured.
        keys: Who takes part.
        rounds: How many are done.
        records: One for each contestant and round.
        skipped: Who cannot run here, with the reason.
        failed: Who, or whose load, did not do what it must, with the reason. Not asked again; what was seen stays.
        took_s: How long the last round took.
    """

    work: Scenario
    keys: Sequence[str]
    rounds: int = 0
    records: list[Record] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    took_s: float = 0.0

    def run_round(self, interpreters: Interpreters, core: int) -> None:
        """Measure everybody once, or each pair."""
        began = time.monotonic()
        pairs: list[tuple[str, ...]] = [pair for pair in self.work.pairs if set(pair) <= set(self.keys)]
        for unit in pairs or [(key,) for key in self.keys]:
            if not any(key in self.skipped or key in self.failed for key in unit):
                self._measure(unit, interpreters, core)
        self.rounds += 1
        self.took_s = time.monotonic() - began

    def _measure(self, unit: Sequence[str], interpreters: Interpreters, core: int) -> None:
        who = [BY_KEY[key] for key in unit]
        try:
            if len(who) == 1:
                seen: Sequence[Record] = [measure(self.work, who[0], interpreters, core)]
            else:
                seen = measure_pair(self.work, (who[0], who[1]), interpreters, core)
        except UnavailableError as error:
            self._leave_out(self.skipped, "skipped", unit, error)
        # Whatever it is, the others are measured: a server that is gone shows as an OSError of a pipe or of /proc,
        # an outside client that hangs as a TimeoutExpired.
        except Exception as error:
            self._leave_out(self.failed, "FAILED", unit, error)
        else:
            for key, record in zip(unit, seen, strict=True):
                self.records.append({"contestant": key, "round": self.rounds, **record})
                say(f"  {self.rounds + 1} {key:38} {record['value']:12.3f} {self.work.unit}")

    def _leave_out(self, group: dict[str, str], word: str, unit: Sequence[str], error: Exception) -> None:
        for key in unit:
            group[key] = _reason(error)
            say(f"  {self.rounds + 1} {key:38} {word}: {group[key]}")

    # -- on disk -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path, date: str, described: Mapping[str, object]) -> None:
        """Write all of it, so that a run that ends early has what it has seen."""
        saved = {
            "scenario": asdict(self.work),
            "date": date,
            "rounds": self.rounds,
            "machine": described,
            "records": self.records,
            "skipped": self.skipped,
            "failed": self.failed,
        }
        path = self._path(folder, date)
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n")
        fresh.replace(path)

    def resume(self, folder: Path, date: str) -> None:
        """Take up what `save` wrote on the same day, if it is of the same work. Who was left out is asked again."""
        path = self._path(folder, date)
        if not path.exists():
            return
        saved: dict[str, Any] = json.loads(path.read_text())
        if saved["scenario"] == json.loads(json.dumps(asdict(self.work))):
            self.rounds, self.records = saved["rounds"], saved["records"]

    def _path(self, folder: Path, date: str) -> Path:
        return folder / f"{date}-{self.work.name}.json"
