"""Words of the API that pages show, marked for the catalogue: what stays as it is in ``/v1`` and in exports."""

from __future__ import annotations

from anomaly_detection.texts.viewer import N_

__all__ = ["WORDS"]

WORDS = (
    # Whose a case is, and which cases
    N_("me"),
    N_("nobody"),
    N_("unresolved"),
    N_("all"),
    # States and verdicts
    N_("open"),
    N_("acknowledged"),
    N_("resolved"),
    N_("real: fixed"),
    N_("real: accepted"),
    N_("expected"),
    N_("false alarm"),
    N_("duplicate"),
    # Risk levels
    N_("low"),
    N_("medium"),
    N_("high"),
    N_("critical"),
    # Records and messages
    N_("judged"),
    N_("waiting"),
    N_("refused"),
    N_("sent"),
    N_("failed"),
    # Kinds of columns
    N_("number"),
    N_("category"),
    N_("date"),
    N_("id"),
    N_("text"),
    N_("constant"),
    N_("ignore"),
    # Roles
    N_("viewer"),
    N_("analyst"),
    N_("admin"),
    # What was done with a case, and what of it changed
    N_("make"),
    N_("change"),
    N_("comment"),
    N_("raise"),
    N_("undo"),
    N_("split"),
    N_("merge"),
    N_("state"),
    N_("verdict"),
    N_("assignee"),
    N_("snoozed_until"),
    N_("snoozed_below"),
    N_("merged_into"),
    N_("merged"),
    N_("split from"),
    N_("into"),
    N_("alerts"),
    N_("alert"),
    N_("case"),
    N_("rule"),
    # Where a version of a model is from
    N_("job"),
    N_("upload"),
)
"""Each as the API has it; a word that is not among them is shown as it is."""
