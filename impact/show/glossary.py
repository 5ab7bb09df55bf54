"""The words for columns: the only place where a column of a tidy frame gets its heading and its meaning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Entry(NamedTuple):
    """What a column is called, what it says, and how many decimals its numbers are read with.

    ``decimals`` is None where the numbers themselves must say (estimates follow their standard error).
    """

    heading: str
    meaning: str
    decimals: int | None = None


GLOSSARY: dict[str, Entry] = {
    # Labels: what a value is a value of.
    "outcome": Entry("Outcome", "What was measured on each unit."),
    "term": Entry("Term", "The characteristic, parameter or contrast that the row is about."),
    "group": Entry("Group", "The arm of the study."),
    "cause": Entry("Cause", "The way out: which of several competing events."),
    "time": Entry("Time", "Time since time zero, or since adoption, in the study's unit of time."),
    "adoption_group": Entry("Adopted", "The units that were first treated in this period."),
    "subgroup": Entry("Subgroup", "The part of the sample that the value is for."),
    "method": Entry("Method", "How the value was estimated."),
    "design": Entry("Design", "How comparison units were chosen or weighted."),
    "estimand": Entry(
        "Estimand", "Whose effect: the treated's (ATT), the comparison's (ATC), everyone's (ATE), the overlap's (ATO)."
    ),
    "provider": Entry("Provider", "Who delivered the service."),
    "region": Entry("Region", "Where the service was delivered."),
    # Values: what an estimate says.
    "estimate": Entry("Estimate", "The best single value for the quantity, given the data and the assumptions."),
    "std_error": Entry("Std. error", "How far the estimate would typically stray from sample to sample."),
    "statistic": Entry("Statistic", "The estimate divided by its standard error, or the test's statistic.", 2),
    "p_value": Entry("p", "How often chance alone would give a statistic at least this large if there were no effect."),
    "conf_low": Entry("Interval, low", "The lower end of the confidence interval."),
    "conf_high": Entry("Interval, high", "The upper end of the confidence interval."),
    "band_low": Entry("Band, low", "The lower end of the band that covers all values of the table at once."),
    "band_high": Entry("Band, high", "The upper end of the band that covers all values of the table at once."),
    "truth": Entry("Truth", "The value that the simulation was built with."),
    "bias": Entry("Bias", "How far the estimates lie from the truth on average."),
    "spread": Entry("Spread", "The standard deviation of the estimates over the draws of a simulation."),
    "rmse": Entry("RMSE", "The root of the mean squared distance of the estimates from the truth."),
    "coverage": Entry("Coverage", "How often the interval held the truth.", 3),
    "draws": Entry("Draws", "Draws of the simulation with an answer."),
    "refused": Entry("No answer", "Draws of the simulation in which the estimator had no answer."),
    "range": Entry("Range", "The largest less the smallest of several estimates."),
    "share_of_error": Entry("Range / error", "The range as a share of the standard error.", 2),
    "null": Entry("Null", "The value that the test compares with."),
    "df": Entry("Df", "Degrees of freedom: how many independent pieces the test has to work with.", 1),
    "df_denominator": Entry("Df, error", "Degrees of freedom of the error: independent clusters less one.", 1),
    "df_residual": Entry("Df, error", "Degrees of freedom of the error that the test has left.", 1),
    "wald": Entry("Wald", "The sum of squared estimates, each in units of its error.", 2),
    "smallest_detectable": Entry(
        "Detectable", "The smallest effect that a sample of this size would have found with 80% power."
    ),
    # Few treated areas.
    "p_aim": Entry("p, aim", "How often chance alone would give a result this far from the hoped-for effect."),
    "hypothesis": Entry("Hypothesis", "What the method tests: the effect and what it takes errors to be."),
    "donor_pool": Entry("Donor pool", "What the method reads the error off."),
    "donors": Entry("Donors", "How many the donor pool holds."),
    "valid": Entry("Valid here", "Whether the method may be relied on here, or why not."),
    # Balance.
    "before": Entry("Before", "Standardised difference in means before the design.", 3),
    "after": Entry("After", "Standardised difference in means after the design.", 3),
    "variance_ratio_before": Entry(
        "Variance ratio before", "Variance in the treated arm over that in the comparison, before the design.", 2
    ),
    "variance_ratio_after": Entry(
        "Variance ratio after", "Variance in the treated arm over that in the comparison, after the design.", 2
    ),
    "ks_before": Entry("KS before", "Largest gap between the arms' distributions before the design.", 3),
    "ks_after": Entry("KS after", "Largest gap between the arms' distributions after the design.", 3),
    "ecdf_before": Entry("eCDF before", "Mean gap between the arms' cumulative distributions before the design.", 3),
    "ecdf_after": Entry("eCDF after", "Mean gap between the arms' cumulative distributions after the design.", 3),
    "mean_treated": Entry("Mean, treated", "Mean among the treated."),
    "mean_treated_before": Entry("Mean, treated before", "Mean among the treated before the design."),
    "mean_comparison": Entry("Mean, comparison", "Mean in the comparison, with the design's weights."),
    "mean_comparison_before": Entry("Mean, comparison before", "Mean in the comparison before the design."),
    "mean_comparison_after": Entry("Mean, comparison after", "Mean in the comparison after the design."),
    "difference": Entry("Difference", "The treated arm's value less the comparison's."),
    "threshold": Entry("Threshold", "The size of difference that the check tolerates."),
    # Sensitivity to what was not measured.
    "gamma": Entry("Γ", "How many times the odds of treatment of one unit may be those of another who looks alike.", 2),
    "p_low": Entry("p, at least", "The smallest p value that hidden bias of this size allows.", 4),
    "p_high": Entry("p, at most", "The largest p value that hidden bias of this size allows.", 4),
    "r2_treatment": Entry("R² treatment", "Share of treatment's remaining variance that the confounder explains.", 3),
    "r2_outcome": Entry("R² outcome", "Share of the outcome's remaining variance that the confounder explains.", 3),
    "e_value": Entry("E-value", "How strongly a confounder must go with both sides to explain the estimate away.", 2),
    "e_value_limit": Entry("E-value, interval", "The same for the limit of the interval nearest to no effect.", 2),
    "shift": Entry("Shift", "How far the estimate moves."),
    "shift_error": Entry("Std. error of shift", "How far the shift would typically stray from sample to sample."),
    "margin": Entry("Margin", "The size of effect that counts as none."),
    # What an average is made of.
    "compared_with": Entry("Compared with", "The units whose changes stand for those without treatment."),
    "weight": Entry("Weight", "Share of the row in the average, or of a unit in the synthetic comparison.", 3),
    # Synthetic comparisons.
    "rmspe_before": Entry("RMSPE before", "Root of the mean squared gap to the synthetic comparison before adoption."),
    "rmspe_after": Entry("RMSPE after", "Root of the mean squared gap to the synthetic comparison since adoption."),
    # Overlap.
    "score_low": Entry("Score from", "The lower end of the bin of the propensity score.", 3),
    "score_high": Entry("Score to", "The upper end of the bin of the propensity score.", 3),
    "share_outside": Entry("Share outside", "Share of the arm outside the other arm's range of scores.", 3),
    "effective_size_before": Entry("Worth before", "How many equally weighted units the arm was worth at first.", 1),
    "kept": Entry("Kept", "Units that the design gave a weight."),
    "mean_kept": Entry("Mean, kept", "Mean among the units that the design kept."),
    "mean_lost": Entry("Mean, left out", "Mean among the units that the design left out."),
    "effective_size": Entry("Effective size", "How many equally weighted units would carry as much information.", 1),
    # Flow of units into the study.
    "step": Entry("Step", "The rule that was applied, in order."),
    "treated": Entry("Treated", "Units in the treated arm."),
    "comparison": Entry("Comparison", "Units in the comparison arm."),
    "other": Entry("Other", "Units in neither arm."),
    "total": Entry("Total", "All units that remain after the step."),
    "units": Entry("Units", "Units that remain after the step."),
    "excluded": Entry("Excluded", "Units that the step left out."),
    # The target trial.
    "element": Entry("Element", "The element of the target trial's protocol."),
    "protocol": Entry("Protocol", "What the study declares for the element."),
    # Risk tables.
    "at_risk": Entry("At risk", "Units still followed, without an event, just before the time."),
    "events": Entry("Events", "Events up to the time."),
    "censored": Entry("Censored", "Units whose follow-up ended without an event up to the time."),
    # Tests and counts.
    "test": Entry("Test", "The hypothesis that was tested."),
    "claim": Entry("Claim", "The property that a credible study should have."),
    "verdict": Entry("Verdict", "Whether the evidence bears the claim out."),
    "clusters": Entry("Clusters", "Independent groups of units."),
    "divergence": Entry(
        "Divergence", "How far trends may diverge after adoption, as a multiple of the largest divergence before.", 2
    ),
    "slope_change": Entry(
        "Change of slope", "How far the slope of the divergence may change from one period to the next."
    ),
    "trend": Entry("Trend", "What a steady divergence in trends would add to the estimate."),
    "trend_passed": Entry(
        "Trend, if passed", "What it would add on average in studies that pass the test of trends before adoption."
    ),
    "package": Entry("Package", "The software that computed the result."),
    "version": Entry("Version", "The version of the software."),
}

POINTS = "pp"  # percentage points

# Measured in the unit of the outcome: these share its decimals, and its percentage points.
IN_OUTCOME_UNIT = (
    "estimate", "std_error", "conf_low", "conf_high", "band_low", "band_high", "truth", "smallest_detectable",
    "bias", "spread", "rmse", "shift", "shift_error", "margin", "range", "slope_change",
    "trend", "trend_passed",
)  # fmt: skip

# Tell one value of a frame from another, in the order in which a reader takes them in.
LABELS = ("outcome", "term", "method", "design", "cause", "subgroup", "adoption_group", "group", "time")


def percent_unit(labels: Iterable[str], percent: bool | str) -> str:
    """The unit of values shown times 100: "%" for the levels of groups, "pp" for differences between them.

    A string for ``percent`` is the unit itself.
    """
    if isinstance(percent, str) or not percent:
        return percent or ""
    return "%" if "group" in set(labels) else POINTS


def heading(column: str) -> str:
    """The heading of a column; a column that the glossary does not know keeps its own name."""
    return GLOSSARY[column].heading if column in GLOSSARY else str(column)


def meaning(column: str) -> str:
    """One sentence on what a column says; empty for a column that the glossary does not know."""
    return GLOSSARY[column].meaning if column in GLOSSARY else ""


def unknown(columns: Iterable[str]) -> list[str]:
    """The columns that the glossary has no words for."""
    return [c for c in columns if c not in GLOSSARY]
