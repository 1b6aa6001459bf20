"""Errands for who runs an installation: is a measurement seen all the way through (`check`), and a token to look with (`token`)."""
