# Two images of one Dockerfile: `api` (HTTP, no torch) and `worker` (cpu and gpu workers, CUDA wheels).
# docs/containers.md says how they are built, run, pinned and checked.

# Tag and digest: the digest decides, the tag says to a reader what it is.
ARG BASE=docker.io/library/debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

# ---- base: Python and the user, the same in every image -------------------------------------------
FROM ${BASE} AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*
RUN groupadd --gid 10001 flux \
    && useradd --uid 10001 --gid flux --no-create-home --home-dir /tmp --shell /usr/sbin/nologin flux \
    && install --directory --owner flux --group flux --mode 0700 /data \
    && install --directory --owner flux --group flux --mode 0750 /weights
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    # Everything that is written goes to one of the two volumes, or to /tmp with the container.
    HOME=/tmp \
    DATA_DIR=/data
WORKDIR /srv/flux-controlnet

# ---- tools: what installs, mounted while it does and in no image -----------------------------------
FROM base AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && python3 -m venv /opt/tools
COPY deploy/install /opt/tools/install

# Each -packages stage is what its image stands on: a layer of its own, below the source. The lock is
# copied, not mounted: not every builder looks into a mount when it asks whether its cache still holds.
FROM base AS api-packages
COPY requirements-api.lock /opt/packages.lock
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    /opt/tools/install /opt/packages.lock

FROM base AS worker-packages
COPY requirements-worker.lock /opt/packages.lock
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    /opt/tools/install /opt/packages.lock

# Triton wants a C compiler on the machine it runs on, for one file of its own that is always the
# same: compiled here instead, against the headers it brings (docs/containers.md).
FROM tools AS triton-driver
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libpython3-dev
WORKDIR /opt/triton
COPY --from=worker-packages /opt/venv/lib/python3.11/site-packages/triton/backends/nvidia/driver.c .
COPY --from=worker-packages /opt/venv/lib/python3.11/site-packages/triton/backends/nvidia/include include
# The driver's library is the host's and is not here: an empty one of its name stands in for the linker.
RUN gcc -shared -Wl,-soname,libcuda.so.1 -o /tmp/libcuda.so.1 -x c /dev/null \
    && gcc -O3 -shared -fPIC -Wno-psabi driver.c -o cuda_utils.so -Iinclude -I/usr/include/python3.11 \
        -L/tmp -Wl,--no-as-needed -l:libcuda.so.1 \
    && rm -r include
COPY deploy/cc .

# ---- api ------------------------------------------------------------------------------------------
FROM api-packages AS api
COPY LICENSE .
COPY app app
# What the api asks of models lies at its top and in models/loras/lora_*.py, and needs no torch; the networks and
# weights below stay out.
COPY models/*.py models/
COPY models/loras/__init__.py models/loras/lora_*.py models/loras/
# Compares this server with the hosted API, and needs nothing that the api does not.
COPY tools/__init__.py tools/
COPY tools/migrationcheck tools/migrationcheck
RUN python -m compileall -q app models tools
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# Alive, not ready: an api whose workers are still loading must not be restarted for it.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "app.cli", "health", "api"]
ENTRYPOINT ["python", "-m", "app.cli"]
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="flux-controlnet-server api" \
      org.opencontainers.image.description="Self-hosted replacement of Segmind's flux-controlnet API: the HTTP side" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# ---- worker ---------------------------------------------------------------------------------------
FROM worker-packages AS worker
COPY --from=triton-driver /opt/triton /opt/triton
ENV CC=/opt/triton/cc \
    # Only the linker would look there; without it Triton insists on a complete ld.so.cache.
    TRITON_LIBCUDA_PATH=/usr/lib \
    # A tmpfs is mounted noexec, and what Triton compiles is loaded as a library.
    TRITON_HOME=/data/compiled \
    HF_HOME=/weights \
    # Threads of the demo model that spin while they wait would starve everything else.
    OMP_WAIT_POLICY=PASSIVE \
    HF_TOKEN_PATH=/run/secrets/hf_token \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# The demo's weights seldom change and are large: a layer of their own, which the source leaves out.
COPY models/checkpoints/demo_weights models/checkpoints/demo_weights
COPY models/checkpoints/demo_loras models/checkpoints/demo_loras
COPY LICENSE .
COPY app app
COPY models/*.py models/
COPY models/checkpoints/*.py models/checkpoints/
COPY models/checkpoints/annotators models/checkpoints/annotators
COPY models/checkpoints/validation models/checkpoints/validation
COPY models/annotators models/annotators
COPY models/controls models/controls
COPY models/flux models/flux
COPY models/loras models/loras
COPY models/memory models/memory
COPY models/sampling models/sampling
COPY worker worker
RUN python -m compileall -q app models worker
USER 10001:10001
VOLUME /data /weights
STOPSIGNAL SIGTERM
# Loading 41 GB of weights, or downloading them first, is no illness.
HEALTHCHECK --interval=30s --timeout=10s --start-period=2h CMD ["python", "-m", "app.cli", "health", "worker"]
ENTRYPOINT ["python", "-m", "app.cli"]
CMD ["worker", "cpu"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="flux-controlnet-server worker" \
      org.opencontainers.image.description="Self-hosted replacement of Segmind's flux-controlnet API: cpu and gpu workers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
