"""Which tests stay together when several workers share them."""

from xdist.scheduler.loadscope import LoadScopeScheduling


class Files(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out tests by the file, for a file shares its servers; those with a browser go to one worker, one after the other."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests/browser" if file.startswith("tests/browser/") else file
