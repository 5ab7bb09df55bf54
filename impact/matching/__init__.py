"""Comparable groups: designs make a sample comparable, estimators say what the programme changed."""
