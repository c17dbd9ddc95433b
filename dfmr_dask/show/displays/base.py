"""What all displays have in common."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure

RunPath = str | os.PathLike[str]


class Display:
    """What all displays have in common: where they were plotted last."""

    ax_: Axes
    figure_: Figure

    def plotted(self, ax: Axes) -> Self:
        """Remember the axes that were drawn onto."""
        self.ax_ = ax
        self.figure_ = ax.get_figure(root=True)  # type: ignore[assignment]
        return self


def check(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise unless a value is allowed."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r}; allowed are {', '.join(map(repr, allowed))}")


def require(there: Any, text: str) -> None:
    """Raise unless there is something."""
    if not there:
        raise ValueError(text)
