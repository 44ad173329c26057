"""What is behind the routes of one process: the settings, the networks and the threads that decode pictures."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from app import uploads
from app.catalog import Catalog
from app.errors import Overloaded
from app.network import Network, Pictures
from app.settings import Settings


class Service:
    """Started and closed by the application's lifespan."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        """Compile and warm up every network of `catalog`; needs a running event loop. Raises ArtifactError."""
        self.settings = settings
        self.catalog = catalog
        self.networks = {name: Network(artifact, settings) for name, artifact in catalog.items()}
        self._decoders = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
        self._decoding = 0

    def network(self, name: str | None) -> Network:
        """The network a caller asked for, or the default for None. Raises NotFound."""
        return self.networks[self.catalog.find(name).name]

    async def pictures(self, content_type: str, body: bytes) -> Pictures:
        """The pictures of a request's body, decoded in a thread of its own. Raises Overloaded and as `uploads`."""
        if self._decoding == self.settings.max_queue:
            raise Overloaded(f"{self._decoding} requests are being decoded already; expected fewer")
        self._decoding += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._decoders, uploads.pictures, content_type, body, self.settings)
        finally:
            self._decoding -= 1

    async def close(self) -> None:
        """Finish what was admitted."""
        for network in self.networks.values():
            await network.close()
        self._decoders.shutdown()
