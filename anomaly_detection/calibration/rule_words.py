"""What sets a threshold, in words."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["rule_words"]

_RULES = {
    "Contamination": "so that {ratio} of the records alert",
    "AlertBudget": "so that at most {rate} of the records alert",
    "BestAccuracy": "where most decisions on labelled records were right",
    "BestF1": "where F1 on labelled records was greatest",
    "LowestCost": "where labelled records cost least, a false alarm {false_alarm} and a miss {miss}",
    "Conformal": "so that at most {rate} of the alerts are false",
}
_SHARES = ("ratio", "rate")


def rule_words(name: str | None, parameters: Mapping[str, float]) -> str:
    """Say in a clause how a rule sets the threshold, shares as per cent.

    Parameters
    ----------
    name : str or None
        The class of the rule; for one that is not known, as for None, the forest's own threshold is meant.
    parameters : mapping of str to float
        Those that it is made with.
    """
    shown = {key: f"{100 * value:.3g} %" if key in _SHARES else f"{value:g}" for key, value in parameters.items()}
    return _RULES.get(name or "", "as the forest itself has it").format_map(shown)
