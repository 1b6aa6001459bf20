"""The definitions of the custom resources, made from what the contract says. `python -m tools.crds` writes them; `make crds` calls it.

A definition refuses what an API server can tell to be wrong; the contract's reader, by which the operator judges, has the last word.
So whatever the reader accepts, a definition must accept: tests/unit/tools/test_crds.py tries it.
"""
