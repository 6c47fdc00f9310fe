"""The loop: settings, state, steps, and what a run reports."""
