"""A quasi-Newton method learned once, on problems that it has never seen."""
