"""One file a workload: model, data, quality measure, and what one task is."""
