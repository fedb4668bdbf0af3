"""What was found, how it is written down, and how long finding it may take."""

from __future__ import annotations

import dataclasses
import json
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Sequence

OK, WARNING, PROBLEM = "ok", "warning", "problem"

_WIDTH = 110


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that is so; if it isn't ok, ``why`` that matters and what is ``todo``."""

    area: str
    level: str
    what: str
    why: str = ""
    todo: str = ""


def count(findings: Sequence[Finding], level: str) -> int:
    """Return how many findings there are of a level."""
    return sum(finding.level == level for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """Return the findings for people: aligned, and their number below."""
    problems, warnings = count(findings, PROBLEM), count(findings, WARNING)
    summary = f"{_number(problems, 'problem')}, {_number(warnings, 'warning')}"
    return "\n".join([*map(_paragraph, findings), "", summary])


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings for programs."""
    summary = {"problems": count(findings, PROBLEM), "warnings": count(findings, WARNING)}
    return json.dumps({**summary, "findings": [dataclasses.asdict(each) for each in findings]}, indent=2)


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _paragraph(finding: Finding) -> str:
    head = f"{finding.area:<9} {finding.level:<8} "
    margin = " " * len(head)
    lines = [_wrapped(finding.what, head, margin)]
    lines += [_wrapped(text, f"{margin}{name} ", f"{margin}     ") for name, text in _details(finding) if text]
    return "\n".join(lines)


def _details(finding: Finding) -> tuple[tuple[str, str], ...]:
    return ("Why:", finding.why), ("Do: ", finding.todo)


def _wrapped(text: str, head: str, margin: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=head, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """Somewhere to look, for so many ``seconds`` at the most."""

    area: str
    run: Callable[[], Iterable[Finding]]
    seconds: float = 5.0


def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """Look everywhere at once; what isn't known in time, because something hangs, is a problem of its own."""
    started_at = time.monotonic()
    running = [(check, *_start(check)) for check in checks]
    findings: list[Finding] = []
    for check, thread, found in running:
        thread.join(max(0.0, started_at + check.seconds - time.monotonic()))
        findings += found
        if thread.is_alive():
            findings.append(_timeout_finding(check))
    return findings


def _start(check: Check) -> tuple[threading.Thread, list[Finding]]:
    found: list[Finding] = []
    thread = threading.Thread(target=_run_check, args=(check, found), daemon=True)
    thread.start()
    return thread, found


def _run_check(check: Check, found: list[Finding]) -> None:
    """Note what is found as it is found. An error's text may quote what is secret: its name has to do."""
    try:
        for finding in check.run():
            found.append(finding)  # noqa: PERF402  # one by one: there may be no time for the rest
    except Exception as error:  # noqa: BLE001  # whatever it is, the other findings are wanted
        found.append(Finding(check.area, PROBLEM, f"the look at it failed: {type(error).__name__}"))


def _timeout_finding(check: Check) -> Finding:
    return Finding(
        check.area,
        PROBLEM,
        f"not all could be looked at within {check.seconds:g} s",
        "Something that is asked, a name server perhaps, neither answers nor refuses.",
        "Look at the network of this machine, then check again.",
    )
