{{/* The built-in Kafka: what its ConfigMap holds. */}}

{{/* server.properties of a cluster of one. What is not said is Kafka's default. */}}
{{- define "tideboard.kafka.properties" -}}
{{- $lines := include "tideboard.kafka.defaults" . | fromYaml }}
{{- range $name, $value := .Values.kafka.config }}
{{- $_ := set $lines $name (include "tideboard.scalar" $value) }}
{{- end }}
{{- range $name, $value := $lines }}
{{ $name }}={{ $value }}
{{- end }}
{{- end }}

{{- define "tideboard.kafka.defaults" -}}
process.roles: broker,controller
node.id: "1"
controller.quorum.voters: 1@127.0.0.1:9093
controller.listener.names: CONTROLLER
listeners: PLAINTEXT://:9092,CONTROLLER://127.0.0.1:9093
advertised.listeners: PLAINTEXT://{{ include "tideboard.host" (list . "kafka") }}:{{ .Values.kafka.service.port }}
listener.security.protocol.map: PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs: /var/lib/kafka/data/log
auto.create.topics.enable: "false"
offsets.topic.replication.factor: "1"
transaction.state.log.replication.factor: "1"
transaction.state.log.min.isr: "1"
group.initial.rebalance.delay.ms: "0"
{{ include "tideboard.kafka.room" . }}
# Of 128 MB, in a small heap.
log.cleaner.dedupe.buffer.size: "2097152"
# Not less than Kafka's own 9 s: a node that is short of CPU makes the broker late, and the only one there is would be fenced for it.
broker.session.timeout.ms: "9000"
{{- end }}

{{/*
A broker whose disk is full ends, and ends again: so the oldest goes also before its time where there is no room, in files small enough for that.
Late samples and dead letters have a partition each, which may grow as large as any. What else there is (the lineage, offsets, Kafka's own log of
itself) is a few records, and has its place in what is left over.
*/}}
{{- define "tideboard.kafka.room" -}}
{{- $partition := divf (mulf 0.7 (include "tideboard.amount" .Values.kafka.persistence.size | float64)) (float64 (add .Values.topics.partitions 2)) -}}
log.retention.bytes: {{ printf "%.0f" $partition | quote }}
log.segment.bytes: {{ printf "%.0f" (maxf 1048576 (minf 134217728 (divf $partition 4))) | quote }}
log.retention.check.interval.ms: "30000"
{{- end }}

{{- define "tideboard.kafka.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "tideboard.metadata" (list . "kafka" (include "tideboard.component" (list . "kafka")) nil) | nindent 2 }}
data:
  server.properties: |
    {{- include "tideboard.kafka.properties" . | trim | nindent 4 }}
  log4j2.properties: |
    rootLogger.level = WARN
    rootLogger.appenderRef.stdout.ref = stdout
    appender.stdout.type = Console
    appender.stdout.name = stdout
    appender.stdout.layout.type = PatternLayout
    appender.stdout.layout.pattern = %d{ISO8601} %p %c{1} %m%n
{{- end }}

{{/* Java, as the image has it: the same for both containers. */}}
{{- define "tideboard.kafka.java" -}}
- java
- -Xmx{{ .Values.kafka.heap }}
- -XX:+UseSerialGC
- -XX:+ExitOnOutOfMemoryError
- -Dlog4j2.configurationFile=/etc/tideboard/log4j2.properties
- -cp
- /opt/kafka/libs/*
{{- end }}

{{- define "tideboard.kafka.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{ include "tideboard.kafka.ownMounts" . }}
{{- end }}
{{- define "tideboard.kafka.ownMounts" -}}
- {name: config, mountPath: /etc/tideboard, readOnly: true}
- {name: data, mountPath: /var/lib/kafka/data} # the very path that the image calls a volume: it would lay an empty one over what lies below another
{{- end }}

{{/* Formats the volume where it is empty. The cluster's name is the same for all: nothing outside the pod sees it. */}}
{{- define "tideboard.kafka.format" -}}
name: format
image: {{ include "tideboard.image" (list . "kafka") }}
imagePullPolicy: {{ include "tideboard.pullPolicy" (list . "kafka") }}
securityContext:
  {{- include "tideboard.merged" (list .Values.containerSecurityContext .Values.kafka.containerSecurityContext) | nindent 2 }}
command:
  {{- include "tideboard.kafka.java" . | nindent 2 }}
args: [kafka.tools.StorageTool, format, --ignore-formatted, --cluster-id, dGlkZWJvYXJkLWV2YWx1YQ, --config, /etc/tideboard/server.properties]
resources:
  {{- toYaml .Values.kafka.resources | nindent 2 }}
volumeMounts:
  {{- include "tideboard.kafka.mounts" . | nindent 2 }}
{{- end }}

{{- define "tideboard.kafka.volumes" -}}
- name: config
  configMap: {name: {{ include "tideboard.component" (list . "kafka") }}}
{{ include "tideboard.dataVolume" .Values.kafka }}
{{- end }}
