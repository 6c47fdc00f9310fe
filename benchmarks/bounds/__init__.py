"""What the bounds are worth: how far above the true curvature they lie, and what that costs."""
