"""The report of an evaluation: one self-contained HTML page.

comparison   a picture by our codec and by others at the same file size
pictures     pictures and heat maps as data URIs
plots        rate-distortion plots as inline SVG
page         all of it on a page (template/: the HTML, its style and its script)

Needs the extra `evaluate`.
"""

from codec.evaluation.report.comparison import Comparison, Shown, compare, gallery_of
from codec.evaluation.report.page import write_figure, write_report

__all__ = ["Comparison", "Shown", "compare", "gallery_of", "write_figure", "write_report"]
