"""What services say to each other: messages, names of topics, keys and channels, close codes.

Nothing here does I/O and nothing here imports another package of ours. docs/protocol.md is the prose of it.
"""
