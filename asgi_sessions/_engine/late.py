"""What of a plan can still be done once the response headers are gone."""

from __future__ import annotations

from ..exceptions import ResponseStarted
from .edits import NOTHING
from .plan import Plan

__all__ = ["still_possible", "too_late"]


def still_possible(plan: Plan) -> Plan | None:
    """The plan without what needs a cookie; None: nothing of it is worth doing.

    Raises:
        ResponseStarted: it could only be done by a cookie.
    """
    plan.cookies = None
    if not plan.writes or _is_read_only(plan):
        return None
    nowhere = plan.doomed is None and (plan.created is not None or plan.after is None)
    if not plan.binding.server_side or plan.edits.regenerated or nowhere:
        raise too_late(plan)
    if plan.created is not None:
        # invalidated, then used again: the old record can still be deleted
        plan.created = plan.after = None
        plan.lost = True
    return plan


def too_late(plan: Plan) -> ResponseStarted:
    """The error that names the changes that are lost."""
    return ResponseStarted(
        f"session {plan.binding.name!r}: changes of {plan.changed_keys()} after the response started are lost; "
        "they need a cookie, which can not be sent any more"
    )


def _is_read_only(plan: Plan) -> bool:
    """A cookie of another library that was first read now: nothing is lost, the next request can take it."""
    return plan.session._adopted and plan.edits is NOTHING and plan.values == plan.session._base
