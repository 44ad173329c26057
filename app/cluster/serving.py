"""The application as replicas of Ray Serve, behind Ray's proxies."""

import logging
import signal
import sys
from collections.abc import Callable, Sequence

import ray
from fastapi import FastAPI
from ray import serve as ray_serve

from app.cluster.connection import LOCAL, ClusterError, nodes
from app.inference.registry import Registry
from app.server import logs, memory
from app.server.keys import Keys
from app.server.listening import listening
from app.server.run import GRACE, warn_if_open
from app.settings import Settings

NAME = "convoscope"
"""Of the application in Ray Serve."""


def serve(settings: Settings, create_app: Callable[[Settings], FastAPI], address: str) -> None:
    """Serve from the cluster that was joined at `address` until SIGTERM or SIGINT, then finish the in-flight requests.

    Starts `workers` replicas, or as many as there are cores for. Ray stops those that are idle for long, and starts
    more when each has over a batch in flight. Raises ClusterError, and ArtifactError, BadKeys or AddressInUse before
    anything is served.
    """
    if settings.uds or not settings.port:
        raise ClusterError("--ray listens on --host and --port of every node; expected a port above 0 and no socket")
    logs.configure(settings)
    warn_if_open(settings)
    Registry(settings)  # report bad artifacts or keys once, here, and not in every replica
    Keys.of(settings)
    if address == LOCAL:
        with listening(settings):  # Ray would try for a minute
            pass
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: sys.exit(0))
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        ray_serve.start(http_options={"host": settings.host, "port": settings.port})
        try:
            ray_serve.run(deployment(settings, create_app).bind(), name=NAME)
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            where = f"http://{host}:{settings.port} of each node of the Ray cluster at {address}"
            print(f"Convoscope on {where}, stop with Ctrl-C", flush=True)
            signal.pause()
        finally:
            ray_serve.delete(NAME)
            if not ray_serve.status().applications:
                ray_serve.shutdown()
    except (RuntimeError, TimeoutError, ray.exceptions.RayError) as error:
        raise ClusterError.of("Ray cannot serve the application", error) from error


def deployment(settings: Settings, create_app: Callable[[Settings], FastAPI]) -> ray_serve.Deployment:
    """The same application as without Ray, in replicas with a batcher each, which take what its limits admit."""
    cores = nodes()
    threads = settings.threads or _share(cores, settings.workers)
    fitting = sum(count // threads for count in cores)
    one = settings.model_copy(update={"threads": threads, "workers": 1})

    def application() -> FastAPI:
        logs.configure(one)
        memory.share_one_arena()
        return create_app(one)

    limit = settings.max_queue + settings.max_jobs
    return ray_serve.deployment(
        ray_serve.ingress(application)(),
        name=NAME,
        ray_actor_options={"num_cpus": threads},
        max_ongoing_requests=limit,
        max_queued_requests=limit,
        backpressure_config={"retry_after_s": 1},
        autoscaling_config={
            "min_replicas": 1,
            "initial_replicas": max(1, min(settings.workers, fitting)),
            "max_replicas": settings.workers,
            "target_ongoing_requests": settings.max_batch,
        },
        graceful_shutdown_timeout_s=settings.drain + GRACE,
        logging_config={"enable_access_log": False},  # the application has its own
    )


def _share(cores: Sequence[int], replicas: int) -> int:
    """The most cores that each of so many replicas can have on nodes with these; at least 1."""
    shares = range(max(cores), 1, -1)
    return next((share for share in shares if sum(count // share for count in cores) >= replicas), 1)
