"""Time to an event, and by which way out."""
