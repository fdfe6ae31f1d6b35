"""The one exception of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._results import Results


class PliantError(Exception):
    """Something outside the package is wrong: a file, a data frame, a policy.

    Prints as one line, ``FILE[, PLACE]: PROBLEM[; found FOUND][; allowed: ALLOWED]``, as the
    command line's errors do. What a policy raised is its ``__cause__``.

    Attributes:
        problem: What is wrong.
        file: What it is about: a file, a data frame, ``policy NAME``.
        place: Where in it: a line, a column, a request.
        found: What stands there.
        allowed: What may stand there instead.
        results: What methods show that came to their end, where others did not.

    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        place: str | None = None,
        found: str | None = None,
        allowed: str | None = None,
    ) -> None:
        """Keep the parts."""
        self.problem = problem
        self.file = file
        self.place = place
        self.found = found
        self.allowed = allowed
        self.results: Results | None = None
        super().__init__(problem)

    def __str__(self) -> str:
        """All parts in one line."""
        where = ", ".join(part for part in (self.file, self.place) if part)
        text = f"{where}: {self.problem}" if where else self.problem
        if self.found is not None:
            text += f"; found {self.found}"
        if self.allowed is not None:
            text += f"; allowed: {self.allowed}"
        return text
