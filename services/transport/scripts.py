"""Lua scripts: by hash, and loaded again where a server does not know them (it restarted, or another was promoted)."""

import hashlib
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Argument = bytes | str | int


class Script:
    """One script. Its text is sent once per server."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, keys: Sequence[str], arguments: Sequence[Argument]) -> object:
        """What the script returns."""
        try:
            return await redis.evalsha(self.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await redis.eval(self.text, len(keys), *keys, *arguments)

    async def run_all(self, redis: Redis, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]) -> list[object]:
        """Several calls in one round trip, each on its own: a result per call. Not a transaction."""
        if len(calls) == 1:
            return [await self.run(redis, *calls[0])]
        answers = await self._pipeline(redis, calls)
        # One server refuses all from the first on, of a Cluster each for itself: what was carried out is not called again.
        if unknown := [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]:
            await redis.script_load(self.text)
            again = await self._pipeline(redis, [calls[at] for at in unknown])
            for at, answer in zip(unknown, again, strict=True):
                answers[at] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _pipeline(self, redis: Redis, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]) -> list[object]:
        """An answer or an error per call."""
        async with redis.pipeline(transaction=False) as pipe:
            for keys, arguments in calls:
                pipe.evalsha(self.sha, len(keys), *keys, *arguments)
            return list(await pipe.execute(raise_on_error=False))
