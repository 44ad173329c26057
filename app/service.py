"""What is behind the routes of one process: the settings, the networks and the threads that decode pictures."""

import os
from concurrent.futures import ThreadPoolExecutor

from app.catalog import Catalog
from app.network import Network
from app.settings import Settings


class Service:
    """Started and closed by the application's lifespan."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        """Compile and warm up every network of `catalog`; needs a running event loop. Raises ArtifactError."""
        self.settings = settings
        self.catalog = catalog
        self.networks = {name: Network(artifact, settings) for name, artifact in catalog.items()}
        self.decoders = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")

    def network(self, name: str | None) -> Network:
        """The network a caller asked for, or the default for None. Raises NotFound."""
        return self.networks[self.catalog.find(name).name]

    async def close(self) -> None:
        """Finish what was admitted."""
        for network in self.networks.values():
            await network.close()
        self.decoders.shutdown()
