"""The operator: Dashboards and Sources of the cluster, written to the registry."""
