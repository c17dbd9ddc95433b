"""How an estimator shows itself in a notebook: scikit-learn's diagram, and its verdict."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator


class Shown(BaseEstimator):  # type: ignore[misc]
    """An estimator that adds its ``verdict_`` to what scikit-learn shows of it.

    Nothing is added before it is fitted, or where ``sklearn.set_config(display="text")`` asks for
    text.
    """

    def _repr_html_inner(self) -> str:
        return str(super()._repr_html_inner()) + self._verdict_html()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        shown: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in shown:
            shown["text/html"] += self._verdict_html()
        return shown

    def _verdict_html(self) -> str:
        verdict = getattr(self, "verdict_", None)
        if verdict is None:
            return ""
        from dfmr_dask.show.html.card import card  # noqa: PLC0415  (pictures take long to import)

        return card(verdict)
