"""`Manifest`: beside the parts, what they were made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from anomaly_detection.cluster.partition import Partition
from anomaly_detection.cluster.store import Store
from anomaly_detection.errors import DataError

__all__ = ["Manifest"]

_NAME = "_manifest.json"  # who reads a folder of Parquet files leaves out what begins so
_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What a folder of parts was made of.

    Attributes
    ----------
    data : str
        The folder, pattern or URL, as it is found from everywhere; without its password.
    model_digest : str
        The SHA-256 of the model's file.
    partitions : sequence of Partition
        In order.
    """

    data: str
    model_digest: str
    partitions: Sequence[Partition]

    def write(self, store: Store) -> None:
        """Put it in the place of an older one; raises `OSError`."""
        told = {
            "version": _VERSION,
            "data": self.data,
            "model_sha256": self.model_digest,
            "parts": [asdict(one) for one in self.partitions],
        }
        with store.writing(_NAME) as file:
            file.write(json.dumps(told, indent=1).encode())

    @classmethod
    def of(cls, store: Store) -> Manifest | None:
        """That of a folder; None of an empty one.

        Raises
        ------
        DataError
            Where other things are in the folder, or a manifest that this version does not know.
        """
        names = [entry.name for entry in store.entries()]
        if _NAME not in names:
            if names:
                raise DataError(f"{store.location} holds other files, such as {names[0]}; give a new or empty folder.")
            return None
        try:
            told = json.loads(store.read(_NAME))
            if told["version"] != _VERSION:
                raise DataError(f"{store.location} was written by another version of this program; give a new folder.")
            return cls(told["data"], told["model_sha256"], [Partition(**one) for one in told["parts"]])
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{_NAME} in {store.location} is damaged; give a new folder.") from error

    def refuse_other(self, before: Manifest | None, output: str) -> None:
        """Raise `DataError` where the folder holds what another model made, or other records."""
        if before is None:
            return
        if before.data != self.data:
            raise DataError(f"{output} holds what was found in {before.data}; give another folder.")
        if before.model_digest != self.model_digest:
            raise DataError(f"{output} holds what another model found; give another folder.")
