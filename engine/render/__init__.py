"""Pictures of explanations, and the page that shows several; the only room that imports matplotlib."""

from .choose import figure
from .output import png, save
from .page import PageSection, page, section
from .rows import rows_figure, shown_together
from .side_by_side import side_by_side

__all__ = [
    "PageSection",
    "figure",
    "page",
    "png",
    "rows_figure",
    "save",
    "section",
    "shown_together",
    "side_by_side",
]
