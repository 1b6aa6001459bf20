"""Sources: topics that others write, read into our own. Pure cores decode and cut; `bridge` and `bridges` move."""
