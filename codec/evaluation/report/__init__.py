"""Report of an evaluation: one self-contained HTML page.

comparison   reconstructions by our codec and by others at the same file size
pictures     pictures and heat maps as data URIs
plots        rate-distortion plots as inline SVG
page         the page (template/ has HTML, style and script)

Needs the extra `evaluate`.
"""

from codec.evaluation.report.comparison import Comparison, Shown, compare, gallery_of
from codec.evaluation.report.page import write_figure, write_report

__all__ = ["Comparison", "Shown", "compare", "gallery_of", "write_figure", "write_report"]
