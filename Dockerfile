# Headwater in a container: the same steps as scripts/run, in three stages.
#
#   docker build -t headwater .
#   docker run -p 8080:8080 -p 1935:1935 -v headwater-data:/data \
#       -v ./headwater.toml:/etc/headwater/headwater.toml:ro headwater
#
# Publishing from outside the container needs a stream key in that file: without one only loopback may publish.

FROM node:22-bookworm-slim AS web
WORKDIR /src
COPY scripts scripts
COPY static static
RUN scripts/build-web

FROM rust:1.95-bookworm AS server
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends \
      libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
COPY --from=web /src/static/dist static/dist
RUN cargo build --release --locked --bin headwater

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Headwater" \
      org.opencontainers.image.description="Live streaming server: RTMP and WebRTC in, low-latency HLS and WebRTC out" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# ca-certificates: for key sets and webhooks over HTTPS. What the ladder's workers decode and encode with: x264 is in
# plugins-ugly and under the GPL; without that package openh264, in plugins-bad, takes its place.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates \
      gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
      gstreamer1.0-libav \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home headwater && install -d -o headwater /data
COPY --from=server /src/target/release/headwater /usr/local/bin/headwater
USER headwater
WORKDIR /data
ENV HEADWATER_DATA_DIR=/data
VOLUME /data
# HTTP, RTMP, and media of WebRTC. The admin listener (8081) stays on the container's loopback unless it is configured otherwise.
EXPOSE 8080 1935 8189/udp 8189/tcp
# bash speaks TCP by itself, so that the image needs no HTTP client for this.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["headwater"]
