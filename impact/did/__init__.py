"""Before and after, with and without: difference in differences."""
