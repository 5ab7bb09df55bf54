"""Words and pictures: pure functions from tidy frames to text, HTML, LaTeX and axes.

Nothing here knows a noun of the package. A tidy frame has one row a value: columns that label
the value and columns that measure it, all of them named in :mod:`impact.show.glossary`.
"""
