# Tideboard's one image: every target is `python -m services TARGET` in it. `make image` builds it; docs/image.md says what is in it.
#
# The bases are pinned by the digest of their index, which covers every architecture. To renew them, read the digest of the tag
# and write it here:
#     docker buildx imagetools inspect docker.io/library/python:3.13-slim
#     docker buildx imagetools inspect docker.io/library/node:22-slim
# Any base with Python >= 3.11 and its venv module, and one with Node >= 20.19, will do instead: --build-arg PYTHON_IMAGE=...
# A newer Python than 3.13 needs wheels that requirements-image.lock does not name.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
ARG NODE_IMAGE=docker.io/library/node:22-slim@sha256:c3de60bf2f9dd0ac6370e6117950ff62d6e339527e7472301c9c78a017978392


# The wall: pages and scripts, made once for all architectures.
FROM ${NODE_IMAGE} AS wall
# Behind a proxy that signs for others, or beside a mirror: --secret id=ca,src=FILE, --build-arg NODE_INDEX=URL
ARG NODE_INDEX=""
WORKDIR /build/frontend
COPY frontend/package.json frontend/package-lock.json frontend/.npmrc ./
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export NODE_EXTRA_CA_CERTS=/run/ca.pem; fi; \
    npm ci ${NODE_INDEX:+--registry="$NODE_INDEX"} --no-audit --no-fund --loglevel=error
COPY frontend ./
RUN npm run build


# The packages, in a virtual environment without pip. Wheels only: nothing of them is compiled.
FROM ${PYTHON_IMAGE} AS packages
# As above: --secret id=ca,src=FILE, --build-arg PYTHON_INDEX=URL
ARG PYTHON_INDEX=""
# What Python would write beside the standard library here would not be in the base that runs, and would be taken for it below.
ENV PYTHONDONTWRITEBYTECODE=1
COPY requirements-image.lock /build/
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi; \
    python3 -m venv /build/pip && python3 -m venv --without-pip /opt/tideboard/venv && \
    /build/pip/bin/pip --python /opt/tideboard/venv/bin/python install --quiet --no-cache-dir --disable-pip-version-check \
        ${PYTHON_INDEX:+--index-url="$PYTHON_INDEX"} --no-compile --no-deps --only-binary :all: --require-hashes -r /build/requirements-image.lock
COPY tools/imagetree.py /build/
RUN python3 /build/imagetree.py prune /opt/tideboard/venv && \
    python3 /build/imagetree.py compile /opt/tideboard/venv


# The one function that is compiled, for any processor of its architecture; the compiler comes as a wheel, too, and stays behind.
FROM ${PYTHON_IMAGE} AS compiled
ARG PYTHON_INDEX=""
COPY requirements-compiler.lock /build/
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi; \
    python3 -m venv /build/compiler && \
    /build/compiler/bin/pip install --quiet --no-cache-dir --disable-pip-version-check ${PYTHON_INDEX:+--index-url="$PYTHON_INDEX"} \
        --no-compile --no-deps --only-binary :all: --require-hashes -r /build/requirements-compiler.lock
COPY services/gateway/sends.c /build/
RUN ZIG_GLOBAL_CACHE_DIR=/tmp/zig ZIG_LOCAL_CACHE_DIR=/tmp/zig \
    /build/compiler/bin/python -m ziglang cc -O2 -shared -fPIC -s -mcpu=baseline -o /build/libsends.so /build/sends.c


# Bytecode, since nothing can be written later: of the services, and of what they use of the standard library where the base
# comes without any, as the official one does.
FROM packages AS program
COPY services /opt/tideboard/services
RUN mkdir /build/standard && \
    python3 /build/imagetree.py compile /opt/tideboard/services && \
    cd /opt/tideboard && venv/bin/python /build/imagetree.py standard /build/standard


# What runs. No step here needs a shell, so that a base without one would do; what changes with every commit comes last.
FROM ${PYTHON_IMAGE}
WORKDIR /opt/tideboard
# The version, the commit and the time are given by who builds it (--label), as `make image` does: as arguments they would be
# taken from the cache of another version by some builders.
LABEL org.opencontainers.image.title="Tideboard" \
      org.opencontainers.image.description="Live dashboards that thousands of people watch at once, straight from Kafka, on Kubernetes." \
      org.opencontainers.image.licenses="Apache-2.0"
# numpy would start a thread for every core of the node, for algebra that nobody does here.
ENV PATH=/opt/tideboard/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
# The gateway, the ingestor with OTLP and StatsD, and everybody's probes and metrics.
EXPOSE 8080 8081 4318 8125/udp 9100
USER 10001:10001
ENTRYPOINT ["python", "-m", "services"]
CMD ["--help"]
COPY LICENSE ./
COPY --from=packages /opt/tideboard/venv venv
COPY --from=wall /build/frontend/dist frontend/dist
COPY --from=program /build/standard /
COPY --from=program /opt/tideboard/services services
COPY --from=compiled /build/libsends.so services/gateway/libsends.so
