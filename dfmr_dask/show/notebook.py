"""Progress in a notebook: a bar for each stage, drawn with what any frontend has.

``distributed.progress`` is not used: it counts the futures that it is given, and a run gives the
scheduler few of its tasks at a time, so that its bars would be full at once, again and again. It,
and rich as well, also need ipywidgets, which not every frontend has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment

from dfmr_dask.run.events import Emit, Event
from dfmr_dask.show.lines import duration, ending, stage_notes
from dfmr_dask.show.state import RunState

TABLE = Environment(autoescape=True, trim_blocks=True).from_string(
    """<table>
{% for row in rows %}
<tr><th scope="row">{{ row.name }}</th>
<td><progress value="{{ row.done }}" max="{{ row.total }}"></progress></td>
<td>{{ row.done }}/{{ row.total }}</td><td>{{ row.spent }}</td>
<td style="text-align: left">{{ row.notes }}</td></tr>
{% endfor %}
</table>
{{ ending }}
{% if link %}<a href="{{ link }}" target="_blank" rel="noopener">Dask dashboard</a>{% endif %}
"""
)


def notebook_progress() -> Emit | None:
    """Return a reader of events that draws below the cell that runs; None outside of notebooks."""
    if not in_notebook():
        return None
    from IPython import display  # noqa: PLC0415  (only where there is one)

    shown: Any = display
    handle = shown.display(shown.HTML(""), display_id=True)
    return Table(lambda text: handle.update(shown.HTML(text)))


def in_notebook() -> bool:
    """Tell whether what is shown goes to a notebook."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


@dataclass(slots=True)
class Table:
    """A row for each stage.

    Parameters
    ----------
    draw : callable
        Shows HTML in place of what it showed before.
    """

    draw: Callable[[str], None]
    state: RunState = field(default_factory=RunState)

    def __call__(self, event: Event) -> None:
        """Take in an event; it is drawn together with those that it travels with."""
        self.state.take(event)

    def flush(self) -> None:
        """Draw what is known now."""
        state, link = self.state, str(self.state.about.get("dashboard") or "")
        rows = [
            {
                "name": name,
                "done": now.done,
                "total": now.total,
                "spent": duration(now.seconds),
                "notes": ", ".join(stage_notes(state, name)),
            }
            for name, now in state.stages.items()
        ]
        is_link = link.startswith(("http://", "https://")) and not state.finished
        self.draw(TABLE.render(rows=rows, ending=ending(state), link=link if is_link else ""))
