"""What Prometheus sees of a running service, read by Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from tests.support.logs import listening
from tests.support.server import RunningServer

OPTION = ("--metrics-listen", "127.0.0.1:0")

Samples = Mapping[str, Mapping[frozenset[tuple[str, str]], float]]
"""Name to labels to value."""


def metrics_url(server: RunningServer) -> str:
    """Where its metrics are, as its log says."""
    return f"http://{listening(server.log(), 'metrics')}/metrics"


def scrape(url: str) -> Samples:
    """Every sample."""
    place = urlsplit(url)
    connection = HTTPConnection(place.netloc, timeout=10)
    connection.request("GET", place.path)
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    samples: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            assert labels not in samples.get(sample.name, {}), sample
            samples.setdefault(sample.name, {})[labels] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    """One sample: that of all these labels."""
    return samples[name][frozenset(labels.items())]
