"""What knows the forms of cells holds, declared."""

from __future__ import annotations

from typing import Any

import numpy as np

from anomaly_detection.features.categories.constants import Constants
from anomaly_detection.features.categories.name_forms import NameForms
from anomaly_detection.features.forms import MOST_DECIMALS, Decimals, Forms, Gaps, Signs, Zeros
from anomaly_detection.model_files.shared_states import LENT, SEEN
from mlx_iforest.convert.declared import Dict, Kind, Record
from mlx_iforest.convert.declared_values import Array, Whole

__all__ = ["FORMS", "forms_fault"]


def _forms(of: type, learned: Kind) -> Record:
    kinds: dict[str, Kind] = {**SEEN, "n_rows_": Whole(1), "learned_": Dict(learned), "never_": LENT}
    # Files of before have one for all.
    return Record(of, kinds, forms_fault, optional=("never_",))


def forms_fault(forms: Any) -> str | None:
    """What is wrong with what a group learned of the forms of its columns."""
    if not forms.learned_.keys() <= set(forms.feature_names_in_):
        return "expected what was learned of its columns"
    for learned in forms.learned_.values():
        counts = [learned] if isinstance(learned, int) else learned.tolist() if isinstance(learned, np.ndarray) else []
        if isinstance(learned, np.ndarray) and len(learned) != MOST_DECIMALS + 1:
            return f"expected counts of 0 to {MOST_DECIMALS} decimals"
        if any(count > forms.n_rows_ for count in counts):
            return f"expected counts of {forms.n_rows_} rows at most"
    return None


FORMS: dict[str, Record] = {
    "signs": _forms(Signs, Whole()),
    "decimals": _forms(Decimals, Array("int64", least=0)),
    "given": _forms(Gaps, Whole()),
    "forms": _forms(Forms, Dict(Whole(1))),
    "zeros": _forms(Zeros, Whole()),
    "names": _forms(NameForms, Dict(Whole(1))),
    "constants": _forms(Constants, Dict(Whole(1))),
}
