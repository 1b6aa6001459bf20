"""Tideboard: live dashboards straight from Kafka. `python -m services TARGET` runs a part of it."""
