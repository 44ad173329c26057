"""GET /models: what is served."""

from fastapi import APIRouter, Request

from app.network import Network
from app.schemas import Model, Models, ModelSummary, Problem
from app.service import Service

router = APIRouter(tags=["models"])


@router.get("/models")
async def list_models(request: Request) -> Models:
    """Every network that is served, with its accuracy and cost."""
    service: Service = request.app.state.service
    return Models(models=[ModelSummary(**_summary(network, service)) for network in service.networks.values()])


@router.get("/models/{name}", responses={404: {"model": Problem}, 422: {"model": Problem}})
async def show_model(request: Request, name: str) -> Model:
    """One network: its layers, its measured accuracy and calibration, how it was trained."""
    service: Service = request.app.state.service
    network = service.network(name)
    metadata = network.metadata
    return Model(
        **_summary(network, service),
        labels=metadata.labels,
        layers=metadata.layers,
        measured=metadata.accuracy,
        calibration=metadata.calibration,
        training=metadata.training,
    )


def _summary(network: Network, service: Service) -> dict[str, object]:
    metadata = network.metadata
    return {
        "name": metadata.name,
        "version": metadata.version,
        "default": metadata.name == service.catalog.default,
        "precision": network.precision,
        "accuracy": metadata.accuracy.test,
        "parameters": metadata.parameters,
        "multiply_adds": metadata.multiply_adds,
    }
