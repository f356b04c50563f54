# The program, built in one image and run in another that has nothing to compile with.

# It has a C compiler already; aws-lc-sys and the bundled SQLite need no more.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# The dependencies first, in a layer of their own that changes in the sources do not touch.
COPY Cargo.toml Cargo.lock ./
# Named in Cargo.toml, and never built here.
COPY benches benches
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
COPY src src
# Newer than what was built from the empty sources, or cargo would take that for done.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked

FROM debian:bookworm-slim
RUN groupadd --gid 10001 restante \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin restante \
    && install --directory --owner restante --group restante --mode 0700 /data \
    && install --directory /app/certs
COPY --from=build /build/target/release/restante /usr/local/bin/restante
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/restante/
# A new volume takes over the owner of the directory that it covers.
VOLUME /data
# certs/ is mounted below it.
WORKDIR /app
USER 10001:10001
ENV SMTP_ADDR=0.0.0.0:2525 \
    HTTP_ADDR=0.0.0.0:8080 \
    DATA_DIR=/data
EXPOSE 2525 8080 8443
# bash can open a connection by itself: no curl in the image.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["restante"]
