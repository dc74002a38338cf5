"""What the runner is made of: data sets, splits, measurement of one selection, and its scores."""
