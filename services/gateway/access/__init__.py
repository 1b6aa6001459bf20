"""Who gets in: tokens, keys, origins, addresses and limits. Pure cores; what uses them on a connection is `websocket` and `app`."""
