# Stands in for apache/kafka: the same jars at the same place, java in PATH, the same user and the same volumes, which Kubernetes
# lays empty over what the image has there. Its scripts are missing; the chart starts java itself.
ARG SERVERS_IMAGE
FROM ${SERVERS_IMAGE}
COPY libs /opt/kafka/libs
VOLUME ["/etc/kafka/secrets", "/var/lib/kafka/data", "/mnt/shared/config"]
WORKDIR /
USER 1000:1000
EXPOSE 9092
CMD ["java", "-cp", "/opt/kafka/libs/*", "kafka.Kafka"]
