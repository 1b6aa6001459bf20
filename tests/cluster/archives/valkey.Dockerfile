# Stands in for valkey/valkey: its server, and a client that may be of an older version, in PATH; the same user and the same volume.
# Its entry point is missing, which changes the user; the chart has set one.
ARG SERVERS_IMAGE
FROM ${SERVERS_IMAGE}
COPY --chmod=755 valkey-server /usr/local/bin/
RUN mkdir /data && chown 999:1000 /data
VOLUME /data
WORKDIR /data
USER 999:1000
EXPOSE 6379
CMD ["valkey-server"]
