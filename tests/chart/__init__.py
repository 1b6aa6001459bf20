"""The Helm chart, rendered and never installed: what it makes of values, and what it refuses. A cluster's part is tests/cluster."""
