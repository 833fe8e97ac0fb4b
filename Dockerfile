# docker build --tag noisegate:0.1.0 .
# For builds that must not change under you name the base by its digest: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
COPY requirements/build.txt requirements/server.txt requirements/
# Two environments: what builds stays here, what runs has no installer in it.
RUN python -m venv /build/tools \
    && /build/tools/bin/python -m pip install --require-hashes --only-binary :all: -r requirements/build.txt
RUN python -m venv --without-pip /opt/noisegate \
    && /build/tools/bin/python -m pip --python /opt/noisegate/bin/python install \
        --require-hashes --only-binary :all: -r requirements/server.txt
COPY LICENSE pyproject.toml ./
COPY clients/python clients/python
COPY service service
RUN /build/tools/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./clients/python . \
    && /build/tools/bin/python -m pip --python /opt/noisegate/bin/python install --no-deps --no-index wheels/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="noisegate" \
    org.opencontainers.image.description="Session crypto as a service for multiplayer games" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/noisegate /opt/noisegate
# Nothing is written at run time, bytecode neither: the root file system may be read-only.
ENV PYTHONDONTWRITEBYTECODE=1 PATH=/opt/noisegate/bin:/usr/local/bin:/usr/bin:/bin
WORKDIR /
USER 65532:65532
EXPOSE 7443 7444 7445 7446
STOPSIGNAL SIGTERM
# The cluster asks --health-listen; elsewhere `noisegate health` does.
HEALTHCHECK NONE
ENTRYPOINT ["/opt/noisegate/bin/noisegate"]
CMD ["--help"]
