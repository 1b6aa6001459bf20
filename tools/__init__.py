"""What `make` does: setting a machine up, and the verbs."""
