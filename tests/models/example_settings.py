"""A module whose constant is set while it runs."""

GAIN = 1
