"""What spans and metrics say of this process."""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource

__all__ = ["SCOPE", "resource_of"]

SCOPE: Final = "noisegate_server"
_UNKNOWN: Final = "unknown_service"


def resource_of(*, version: str, instance: bytes) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come before what we say."""
    given = Resource.create()
    ours = {SERVICE_VERSION: version, SERVICE_INSTANCE_ID: instance.hex()}
    if str(given.attributes.get(SERVICE_NAME, _UNKNOWN)).startswith(_UNKNOWN):
        return given.merge(Resource(ours | {SERVICE_NAME: "noisegate"}))
    return Resource(ours).merge(given)
