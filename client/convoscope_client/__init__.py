"""A client of the Convoscope service: `Client` blocks, `AsyncClient` is for asyncio, and both have the same methods.

Failures that the service reports are raised as the classes of `errors`; httpx's own exceptions tell of the connection.
The models of the answers are in `models`.
"""

from convoscope_client import errors, models
from convoscope_client.client import AsyncClient, Client
from convoscope_client.connection import ProxyUnusable
from convoscope_client.content import Picture

__all__ = ["AsyncClient", "Client", "Picture", "ProxyUnusable", "errors", "models"]
