# The image of rest-sessions: a build stage with the Rust toolchain, and a final stage with the binary and its
# libraries. Builds with BuildKit (docker build) and with buildah (--format docker, as the OCI format has no
# HEALTHCHECK).

# Both stages are Debian 12, so that the binary runs with the glibc that it was linked against.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# The allocator's build needs make, which the image lacks. make is only a build tool, so its version is not pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*

# .dockerignore is an allow list, so this copies the sources and nothing else.
COPY . .

# The two cache mounts keep downloaded and compiled dependencies between builds, also when Cargo.lock changes; a layer
# of dependencies would then be rebuilt from scratch. They are locked because concurrent builds would share one target.
# `cargo clean` removes only this crate: Cargo compares modification times, and a file from another checkout can have
# new content with an old time, which would leave a stale binary. The binary is copied out, since a mount is not part
# of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo clean --profile dist --locked --package rest-sessions \
    && cargo build --profile dist --locked --bin rest-sessions \
    && install -D target/dist/rest-sessions /out/rest-sessions \
    && install -d /out/data


# distroless/cc: glibc, libgcc and CA certificates (for rediss://), no shell and no package manager. Its tag is
# deliberately unpinned: a rebuild with --pull brings Debian's security fixes.
FROM gcr.io/distroless/cc-debian12:nonroot

LABEL org.opencontainers.image.title="rest-sessions" \
      org.opencontainers.image.description="Shared sessions for any backend in any language, over plain HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"

COPY LICENSE /usr/share/doc/rest-sessions/LICENSE
COPY --from=build /out/rest-sessions /usr/local/bin/rest-sessions

# The folder is created before VOLUME names it, since a new volume inherits its owner from the image.
COPY --from=build --chown=65532:65532 /out/data /data

# A service on the container's loopback address would be unreachable. The container's network limits who can connect.
ENV RS_HOST=0.0.0.0 \
    RS_PORT=3000 \
    RS_DATA_DIR=/data

# Numbers, not names: Kubernetes can check `runAsNonRoot` only on a number. 65532 is `nonroot` in the base image.
USER 65532:65532
VOLUME /data
EXPOSE 3000
STOPSIGNAL SIGTERM

# The binary asks its own /readyz, so the image needs no curl. Exec form: there is no shell.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/rest-sessions", "healthcheck"]

ENTRYPOINT ["/usr/local/bin/rest-sessions"]
