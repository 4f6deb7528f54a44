"""Pictures of explanations, and the page that shows several; the only room that imports matplotlib."""

from .analysis_page import analysis_section
from .choose import figure
from .matrix import MATRIX
from .output import png, save
from .page import PageSection, PageTable, page, section
from .rows import rows_figure, shown_together
from .side_by_side import side_by_side
from .texts_together import text_in_common, texts_section

__all__ = [
    "MATRIX",
    "PageSection",
    "PageTable",
    "analysis_section",
    "figure",
    "page",
    "png",
    "rows_figure",
    "save",
    "section",
    "shown_together",
    "side_by_side",
    "text_in_common",
    "texts_section",
]
