"""On whose behalf something is asked of a server: whoever finds a failure can say whose it is."""

from __future__ import annotations

from dataclasses import dataclass

from modelway.errors import BackendError


@dataclass(frozen=True, slots=True)
class Origin:
    """A backend, and the model that is asked; empty where the request concerns none."""

    backend: str
    model: str = ""

    def error(
        self,
        kind: str,
        what: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        detail: str = "",
        lacks: str | None = None,
    ) -> BackendError:
        """The error for this origin; ``what`` is what happened, with the remedy where there is one."""
        place = f"{self.model} on {self.backend}" if self.model else self.backend
        return BackendError(
            f"{place}: {what}",
            kind=kind,
            model=self.model,
            backend=self.backend,
            status=status,
            retry_after_s=retry_after_s,
            detail=detail,
            lacks=lacks,
        )
