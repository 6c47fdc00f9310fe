"""Components that propose multipliers."""
