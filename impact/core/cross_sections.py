"""The effect on the treated from observations before and after, without following anybody: repeated cross-sections.

Write d for the group that is treated, a for observations after (1) or before (0), w for weights, m_da(x) for the
linear regression of y on x among observations of group d at time a, and r(x) for the odds of being in the group
given x, over both times. Where mean_v weighs by v and is normalised to one, the effect is

    "reg"   mean_{d1}(y) - mean_{d0}(y) - mean_d(m_01 - m_00)
    "ipw"   [mean_{d1}(y) - mean_{d0}(y)] - [mean_{r,1}(y) - mean_{r,0}(y)]
    "dr"    the same with y - m_0a in the place of y, and

              + mean_d(m_11 - m_01) - mean_{d1}(m_11 - m_01) - mean_d(m_10 - m_00) + mean_{d0}(m_10 - m_00),

mean_{da} being over the group at time a, mean_d over the group at both times, and mean_{r,a} over the comparison at
time a with weights w r. The last line makes "dr" locally efficient. These are ``reg_did_rc``, ``std_ipw_did_rc`` and
``drdid_rc`` of R's DRDID; R's did uses them for repeated cross-sections and with ``allow_unbalanced_panel = TRUE``.
They ask that who is observed, and with what covariates, does not depend on the time. The scores carry the error of
all fitted models.

References: santanna2020, callaway2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from impact.core.doubly_robust import METHODS, ratios
from impact.core.linear import LinearFit, least_squares
from impact.core.logit import LogitFit, logit

Array = np.ndarray


def difference(
    y: Array,
    d: Array,
    after: Array,
    x: Array,
    w: Array,
    method: str = "dr",
    names: Sequence[str] | None = None,
) -> tuple[float, Array, LogitFit | None]:
    """The effect on the treated: (value, (m,) scores of the observations, the model of who is treated or None).

    Parameters
    ----------
    y : (m,) outcomes of the observations. d, after : (m,) bool. x : (m, p) columns without intercept. w : (m,).
    method : ``"dr"``, ``"reg"`` or ``"ipw"``. names : words for the columns of x, for messages.

    Raises
    ------
    ValueError
        One of the four groups has no observation with weight, or fewer than a regression needs; see also
        :func:`impact.core.logit.logit`.
    """
    if method not in METHODS:
        raise ValueError(f"The method {method!r} was asked for; the methods are {', '.join(METHODS)}.")
    d, after, w = np.asarray(d, bool), np.asarray(after, bool), np.asarray(w, float)
    _ask_for_four(d, after, w)
    # Nothing depends on the level, and an outcome around 1e12 keeps its digits.
    found = _Sum(y - (w @ y) / w.sum(), w)
    chance = None if method == "reg" else logit(d, x, w, names)
    models = {} if method == "ipw" else _models(found.y, d, after, x, w, both=method == "dr")
    for a, sign in ((after, 1.0), (~after, -1.0)):
        at = bool(sign > 0)
        other = models.get((False, at))
        mine, whole = w * (d & a), w * d
        if other is None:
            found.add(sign, mine)
        elif method == "reg":
            found.add(sign, mine)
            found.expect(-sign, whole, other)
        else:
            found.add(sign, mine, other)
            found.efficient(sign, whole, mine, models[True, at], other)
        if chance is not None:
            found.against(-sign, w * (~d & a), d, chance, other)
    return found.value, found.scores, chance


class _Sum:
    """A sum of means of an outcome or of regressions, with its scores."""

    def __init__(self, y: Array, w: Array) -> None:
        self.y, self.w, self.value, self.scores = y, w, 0.0, np.zeros(len(y))

    def _mean(self, sign: float, of: Array, v: Array) -> float:
        share = v / v.sum()
        centre = float(share @ of)
        self.value += sign * centre
        self.scores += sign * share * (of - centre)
        return centre

    def add(self, sign: float, v: Array, fit: LinearFit | None = None) -> None:
        """The mean over v of the outcome, or of what a regression leaves of it."""
        if fit is None:
            self._mean(sign, self.y, v)
            return
        self._mean(sign, fit.residual, v)
        self.scores -= sign * fit.carry(fit.design.T @ (v / v.sum()))

    def expect(self, sign: float, v: Array, fit: LinearFit) -> None:
        """The mean over v of what a regression expects."""
        self._mean(sign, self.y - fit.residual, v)
        self.scores += sign * fit.carry(fit.design.T @ (v / v.sum()))

    def efficient(self, sign: float, whole: Array, mine: Array, treated: LinearFit, other: LinearFit) -> None:
        """The gap between two regressions, over the group at both times less over the group at this time."""
        for fit, of in ((treated, sign), (other, -sign)):
            self.expect(of, whole, fit)
            self.expect(-of, mine, fit)

    def against(self, sign: float, others: Array, d: Array, chance: LogitFit, fit: LinearFit | None) -> None:
        """The mean over the comparison made like the group by the odds of being in it."""
        ratio, slope = ratios(chance, False, d)
        v = others * ratio
        left = self.y if fit is None else fit.residual
        centre = self._mean(sign, left, v)
        tilt = others * slope / v.sum() * (left - centre)
        self.scores += sign * chance.carry(chance.design.T @ tilt)
        if fit is not None:
            self.scores -= sign * fit.carry(fit.design.T @ (v / v.sum()))


def _models(y: Array, d: Array, after: Array, x: Array, w: Array, *, both: bool) -> dict[tuple[bool, bool], LinearFit]:
    """Regressions by group and time; of the comparison only, unless both are asked for."""
    models = {}
    for group in (True, False) if both else (False,):
        for at in (True, False):
            try:
                models[group, at] = least_squares(y, x, w * ((d == group) & (after == at)))
            except ValueError as refusal:
                raise ValueError(f"Among {_which(group, at)}: {refusal}") from None
    return models


def _which(group: bool, at: bool) -> str:
    return f"the {'treated' if group else 'comparison units'} observed {'after' if at else 'before'}"


def _ask_for_four(d: Array, after: Array, w: Array) -> None:
    for group in (True, False):
        for at in (True, False):
            if not (w[(d == group) & (after == at)] > 0).any():
                raise ValueError(
                    f"A difference in differences was asked for, and there are none of {_which(group, at)}: add such "
                    "observations, or leave out the period."
                )
