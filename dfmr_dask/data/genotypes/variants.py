"""Which variants a store of genotypes holds: contig, position and alleles, one line each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidSource

NO_ALLELE = "."  # VCF's sign for a variant without another allele


@dataclass(frozen=True, slots=True, eq=False)
class Variants:
    """A table of variants.

    Parameters
    ----------
    table : pandas.DataFrame
        With columns ``contig``, ``position``, ``ref`` and ``alt``; several other alleles are
        joined by commas.

    Examples
    --------
    >>> from dfmr_dask.data.genotypes import Variants
    >>> Variants.of(["1:12345:A:G", "X:7:C:T,TA"]).names
    ('1:12345:A:G', 'X:7:C:T,TA')
    """

    table: pd.DataFrame

    @classmethod
    def of(cls, names: Iterable[str]) -> Variants:
        """Read names of variants, as in ``1:12345:A:G``.

        Raises
        ------
        InvalidSource
            When one of them is no such name.
        """
        parts = [str(name).rsplit(":", 3) for name in names]
        wrong = [
            ":".join(part) for part in parts if len(part) != 4 or not part[1].lstrip("-").isdigit()
        ]
        if wrong:
            raise InvalidSource(
                f"{len(wrong)} features are no names of variants, such as {wrong[0]!r}; wanted "
                "contig:position:reference:alternative, as in '1:12345:A:G'"
            )
        columns = list(zip(*parts, strict=True)) or [(), (), (), ()]
        return cls.from_columns(columns[0], [int(at) for at in columns[1]], columns[2], columns[3])

    @classmethod
    def from_columns(cls, contig: Any, position: Any, ref: Any, alt: Any) -> Variants:
        """Put columns beside each other."""
        return cls(
            pd.DataFrame(
                {
                    "contig": np.asarray(contig, dtype=object),
                    "position": np.asarray(position, dtype=np.int64),
                    "ref": np.asarray(ref, dtype=object),
                    "alt": np.asarray(alt, dtype=object),
                }
            )
        )

    @classmethod
    def from_alleles(cls, contig: Any, position: Any, alleles: NDArray[Any]) -> Variants:
        """Take alleles (variants, alleles) as a store holds them, short lists padded with ''."""
        padded = np.asarray(alleles, dtype=object)
        first = padded[:, 0] if padded.shape[1] else np.full(len(padded), NO_ALLELE, dtype=object)
        rest = first[:0]
        if padded.shape[1] == 2:  # as a rule
            rest = np.where(padded[:, 1] == "", NO_ALLELE, padded[:, 1])
        else:
            rest = np.array(
                [",".join(a for a in some if a) or NO_ALLELE for some in padded[:, 1:]],
                dtype=object,
            )
        return cls.from_columns(contig, position, first, rest)

    def __len__(self) -> int:
        """Return the number of variants."""
        return len(self.table)

    @property
    def names(self) -> tuple[str, ...]:
        """Names such as ``1:12345:A:G``, in the order of the table."""
        columns = (self.table[name].tolist() for name in ("contig", "position", "ref", "alt"))
        return tuple(
            f"{contig}:{position}:{ref}:{alt}"
            for contig, position, ref, alt in zip(*columns, strict=True)
        )
