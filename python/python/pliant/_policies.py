"""Policies: what a function, an object or a class has to have, and how replays share it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ._errors import PliantError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ._native import Batch, Menu, Request, Service

DEPENDS_ON = ("kind", "resident", "history")
"""What plans may depend on, beside the menu, see `policy`."""

_NAME = re.compile(r"[\w.+-]+")


@runtime_checkable
class Policy(Protocol):
    """An object that plans; it may also have ``observe(outcome)``."""

    def plan(
        self, request: Request, service: Service, menu: Menu, /
    ) -> int | np.integer[Any] | tuple[int | np.integer[Any], str]:
        """Index of the plan in ``menu``, or that and a reason."""


@runtime_checkable
class BatchPolicy(Protocol):
    """An object that plans for many replications at once."""

    def plan_batch(self, batch: Batch, /) -> NDArray[np.int64]:
        """Index of a plan for each of the batch, int64[n]."""


PlanFunction = Callable[["Request", "Service", "Menu"], Any]
AnyPolicy = PlanFunction | Policy | BatchPolicy | type


@dataclass(frozen=True)
class Named:
    """A policy with what an experiment needs to know of it; see `policy`."""

    of: AnyPolicy
    name: str
    like: str
    depends_on: str
    in_batches: bool

    def start(self, seed: int) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
        """What to ask, and what to tell, in one replay."""
        if isinstance(self.of, type):
            own = self.of()
        elif _is_object(self.of):
            own = copy.deepcopy(self.of)
        else:
            return self.of, None  # type: ignore[return-value]
        if hasattr(own, "start"):
            own.start(seed)
        asked: Callable[..., Any] = own.plan_batch if self.in_batches else own.plan
        return asked, getattr(own, "observe", None)

    def parts(self) -> dict[str, Any]:
        """As the native module takes it."""
        return {
            "name": self.name,
            "like": self.like,
            "start": self.start,
            "depends_on": self.depends_on,
            "in_batches": self.in_batches,
        }


def policy(
    of: AnyPolicy | Named,
    *,
    name: str | None = None,
    like: str | None = None,
    depends_on: str | None = None,
) -> Named:
    """Name a policy and say what it chooses from.

    Args:
        of: A function ``plan(request, service, menu) -> index``; an object with such a method, and
            maybe ``observe(outcome)`` and ``start(seed)``; an object with
            ``plan_batch(batch) -> indices``; or a class of such objects. Each replication has an
            object of its own: a new one of a class, a deep copy of an object.
        name: In tables and figures. Default: its attribute ``name``, else its ``__name__``.
        like: The experiment's method whose family, compressor and answers it chooses from. Default:
            its attribute ``like``, else the experiment's first method.
        depends_on: What its plans depend on. ``"history"``, the default: anything; it is asked for
            every request. ``"resident"``: the request's kind and the resident level alone, so that
            it is asked once for each; it must not look at the clock, the wait or the queue.
            ``"kind"``: the request's kind alone.

    Raises:
        PliantError: If it is no policy, or its name cannot be part of a file's name.

    """
    if isinstance(of, Named):
        name, like, depends_on = name or of.name, like or of.like, depends_on or of.depends_on
        of = of.of
    own = name or getattr(of, "name", None) or getattr(of, "__name__", None) or type(of).__name__
    if own == "<lambda>":
        own = "lambda"
    in_batches = hasattr(of, "plan_batch")
    if not in_batches and not hasattr(of, "plan") and (isinstance(of, type) or not callable(of)):
        raise PliantError(
            "is no policy",
            file=f"policy {own}",
            found=repr(of),
            allowed="a function, or an object or class with `plan` or `plan_batch`",
        )
    if not isinstance(own, str) or not _NAME.fullmatch(own):
        raise PliantError(
            "name cannot be part of a file's name",
            file="policy",
            place="attribute name",
            found=repr(own),
            allowed="letters, digits, `_`, `-`, `+` and `.`",
        )
    said = depends_on or getattr(of, "depends_on", None) or "history"
    if said not in DEPENDS_ON:
        raise PliantError(
            "depends on something else",
            file=f"policy {own}",
            place="attribute depends_on",
            found=repr(said),
            allowed=", ".join(DEPENDS_ON),
        )
    return Named(of, own, like or getattr(of, "like", None) or "", said, in_batches)


def named(policies: Iterable[AnyPolicy | Named] | Mapping[str, AnyPolicy | Named]) -> list[Named]:
    """All of them, named; the keys of a mapping are names."""
    if isinstance(policies, Mapping):
        all_of = [policy(of, name=name) for name, of in policies.items()]
    else:
        all_of = [policy(of) for of in policies]
    names = [one.name for one in all_of]
    for name in names:
        if names.count(name) > 1:
            raise PliantError(
                "two policies have one name",
                file="argument policies",
                found=name,
                allowed="a mapping from names to policies, or an attribute `name` of each",
            )
    return all_of


def _is_object(of: object) -> bool:
    return hasattr(of, "plan") or hasattr(of, "plan_batch")
