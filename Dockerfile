# syntax=docker/dockerfile:1

# Build:  docker build -t futurity .
# Key:    docker run --rm -v futurity-data:/data futurity keys create
# Serve:  docker run --init --stop-timeout 40 -p 127.0.0.1:8080:8080 -v futurity-data:/data futurity
#
# In a container the server listens beyond loopback, and there it refuses to start until a key
# exists. So create the key first; it is printed once.
#
# --init reaps what a killed job leaves behind. --stop-timeout is longer than the grace that
# running jobs get (30 s), for `docker stop` would kill the server after 10 s.

FROM rust:1.95-slim-bookworm AS build
# SQLite and ring are C: they need a compiler and the C headers.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The caches keep built dependencies between builds. They are gone after this step, so the binary
# is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --bin futurity \
    && install -D target/release/futurity /out/futurity

FROM debian:bookworm-slim
# The CA roots let callbacks and http.request check certificates.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --home-dir /data futurity \
    && install -d -o futurity -g futurity -m 0700 /data
COPY --from=build /out/futurity /usr/local/bin/futurity

# By number, so that a cluster can see that it is not root.
USER 10001
WORKDIR /data
ENV FUTURITY_DATA_DIR=/data \
    FUTURITY_LISTEN=0.0.0.0:8080
# A named volume takes its owner from the image. A folder of the host must belong to user 10001.
VOLUME /data
EXPOSE 8080
# `health` asks /readyz of the server whose address stands in /data/address.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/futurity", "health"]
ENTRYPOINT ["/usr/local/bin/futurity"]
