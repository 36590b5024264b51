"""Colours and hatches that people without full colour vision can tell apart.

The colours are the palette of Okabe and Ito (https://jfly.uni-koeln.de/color/).
"""

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
PALETTE = (BLUE, ORANGE, GREEN, "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#999999")
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "++", "oo")
