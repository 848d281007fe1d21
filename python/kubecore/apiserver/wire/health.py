"""`/healthz`, `/livez`, `/readyz`: a table of named checks, told all together or one by one.

Source: https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.response import Response, of_text, query

ENDPOINTS = ("healthz", "livez", "readyz")


@dataclass(frozen=True, slots=True)
class Check:
    """`failure` gives what is wrong, None if nothing is."""

    name: str
    failure: Callable[[], str | None]
    endpoints: Sequence[str] = ENDPOINTS


class Health:
    def __init__(self, checks: Callable[[], Sequence[Check]]) -> None:
        self._checks = checks

    def paths(self) -> list[str]:
        single = [f"/{endpoint}/{check.name}" for endpoint in ENDPOINTS for check in self._checks_of(endpoint)]
        return [*(f"/{endpoint}" for endpoint in ENDPOINTS), *single]

    def answer(self, call: Call) -> Response | None:
        """None: no such check."""
        endpoint, _, name = call.path.strip("/").partition("/")
        if endpoint not in ENDPOINTS:
            return None
        checks = self._checks_of(endpoint)
        if not name:
            return _all(endpoint, checks, call)
        check = next((check for check in checks if check.name == name), None)
        return None if check is None else _one(check)

    def _checks_of(self, endpoint: str) -> list[Check]:
        return [check for check in self._checks() if endpoint in check.endpoints]


def _one(check: Check) -> Response:
    failure = check.failure()
    return of_text("ok") if failure is None else of_text(f"internal server error: {failure}\n", status=500)


def _all(endpoint: str, checks: Sequence[Check], call: Call) -> Response:
    excluded = {value for key, value in call.query if key == "exclude"}
    lines: list[str] = []
    failed = False
    for check in checks:
        if check.name in excluded:
            lines.append(f"[+]{check.name} excluded: ok")
        elif check.failure() is None:
            lines.append(f"[+]{check.name} ok")
        else:
            # Why is for the log and for those who may see the single check.
            lines.append(f"[-]{check.name} failed: reason withheld")
            failed = True
    unknown = sorted(excluded - {check.name for check in checks})
    if unknown:
        names = ", ".join(f'"{name}"' for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    if failed:
        return of_text("\n".join([*lines, f"{endpoint} check failed", ""]), status=500)
    if query(call, "verbose") is None:
        return of_text("ok")
    return of_text("\n".join([*lines, f"{endpoint} check passed", ""]))
