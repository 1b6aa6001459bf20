{{/* What services are told: the entries of each component's ConfigMap, by the variables of docs/settings.md. */}}

{{/* Whatever runs `python -m services`. */}}
{{- define "tideboard.settings.process" -}}
TIDEBOARD_ADMIN_HOST: {{ .Values.listenAddress | quote }}
TIDEBOARD_ADMIN_PORT: "9100"
TIDEBOARD_LOG_LEVEL: {{ .Values.log.level }}
TIDEBOARD_LOG_FORMAT: {{ .Values.log.format }}
{{- end }}

{{/* Who takes orders: on 127.0.0.1 alone, so that who may read metrics gives none. */}}
{{- define "tideboard.settings.orders" -}}
TIDEBOARD_ADMIN_ORDERS_PORT: "9101"
{{- end }}

{{/* Who reads or writes the log. */}}
{{- define "tideboard.settings.kafka" -}}
{{- $kafka := .Values.externalKafka -}}
KAFKA_BOOTSTRAP_SERVERS: {{ include "tideboard.kafka.brokers" . | quote }}
TIDEBOARD_KAFKA_PARTITIONS: {{ .Values.topics.partitions | toString | quote }}
TIDEBOARD_KAFKA_REPLICATION: {{ .Values.topics.replication | toString | quote }}
TIDEBOARD_KAFKA_RETENTION_MS: {{ mul .Values.topics.retentionHours 3600000 | toString | quote }}
{{- if not .Values.kafka.enabled }}
TIDEBOARD_KAFKA_SECURITY_PROTOCOL: {{ printf "%s%s" (ternary "SASL_" "" (ne $kafka.sasl.mechanism "")) (ternary "SSL" "PLAINTEXT" $kafka.tls.enabled) }}
{{- with $kafka.sasl.mechanism }}
TIDEBOARD_KAFKA_SASL_MECHANISM: {{ . }}
TIDEBOARD_KAFKA_USERNAME: {{ $kafka.sasl.username | quote }}
TIDEBOARD_KAFKA_PASSWORD_FILE: /etc/tideboard/kafka/password
{{- end }}
{{- if $kafka.tls.enabled }}
TIDEBOARD_KAFKA_CHECK_HOSTNAME: {{ $kafka.tls.checkHostname | toString | quote }}
{{- if $kafka.tls.caSecret }}
TIDEBOARD_KAFKA_CA_FILE: /etc/tideboard/kafka/ca.crt
{{- end }}
{{- if $kafka.tls.existingSecret }}
TIDEBOARD_KAFKA_CERTIFICATE_FILE: /etc/tideboard/kafka/tls.crt
TIDEBOARD_KAFKA_KEY_FILE: /etc/tideboard/kafka/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.kafka.brokers" -}}
{{- if .Values.kafka.enabled -}}
{{ include "tideboard.host" (list . "kafka") }}:{{ .Values.kafka.service.port }}
{{- else -}}
{{ join "," .Values.externalKafka.brokers }}
{{- end }}
{{- end }}

{{/* Who reads or writes the feed. */}}
{{- define "tideboard.settings.redis" -}}
{{- $redis := .Values.externalRedis -}}
{{- if .Values.redis.enabled -}}
REDIS_URL: redis://{{ include "tideboard.host" (list . "redis") }}:{{ .Values.redis.service.port }}/0
{{- if .Values.redis.auth.existingSecret }}
TIDEBOARD_REDIS_PASSWORD_FILE: /etc/tideboard/redis/password
{{- end }}
{{- else -}}
REDIS_URL: {{ include "tideboard.redis.url" . | quote }}
{{- with $redis.username }}
TIDEBOARD_REDIS_USERNAME: {{ . | quote }}
{{- end }}
{{- if or $redis.password $redis.existingSecret }}
TIDEBOARD_REDIS_PASSWORD_FILE: /etc/tideboard/redis/password
{{- end }}
{{- with $redis.sentinel.username }}
TIDEBOARD_REDIS_SENTINEL_USERNAME: {{ . | quote }}
{{- end }}
{{- if or $redis.sentinel.password $redis.sentinel.existingSecret }}
TIDEBOARD_REDIS_SENTINEL_PASSWORD_FILE: /etc/tideboard/redis/sentinel-password
{{- end }}
{{- if $redis.tls.enabled }}
TIDEBOARD_REDIS_CHECK_HOSTNAME: {{ $redis.tls.checkHostname | toString | quote }}
{{- if $redis.tls.caSecret }}
TIDEBOARD_REDIS_CA_FILE: /etc/tideboard/redis/ca.crt
{{- end }}
{{- if $redis.tls.existingSecret }}
TIDEBOARD_REDIS_CERTIFICATE_FILE: /etc/tideboard/redis/tls.crt
TIDEBOARD_REDIS_KEY_FILE: /etc/tideboard/redis/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.redis.url" -}}
{{- $redis := .Values.externalRedis }}
{{- $scheme := ternary "rediss" "redis" $redis.tls.enabled }}
{{- if $redis.sentinel.hosts -}}
{{ $scheme }}+sentinel://{{ join "," $redis.sentinel.hosts }}/{{ $redis.sentinel.service }}/{{ $redis.database }}
{{- else if $redis.cluster.enabled -}}
{{ $scheme }}+cluster://{{ join "," $redis.cluster.hosts }}
{{- else -}}
{{ $scheme }}://{{ $redis.host }}:{{ $redis.port }}/{{ $redis.database }}
{{- end }}
{{- end }}

{{- define "tideboard.settings.ingestor" -}}
{{ include "tideboard.settings.process" . }}
{{ include "tideboard.settings.kafka" . }}
{{ include "tideboard.settings.redis" . }}
TIDEBOARD_INGESTOR_HOST: {{ .Values.listenAddress | quote }}
TIDEBOARD_INGESTOR_PORT: "8081"
{{ include "tideboard.settings.orders" . }}
{{- end }}

{{- define "tideboard.settings.aggregator" -}}
{{ include "tideboard.settings.process" . }}
{{ include "tideboard.settings.kafka" . }}
{{ include "tideboard.settings.redis" . }}
TIDEBOARD_AGGREGATOR_OUTAGE_MS: {{ mul .Values.aggregator.outageMinutes 60000 | toString | quote }}
{{- end }}

{{- define "tideboard.settings.gateway" -}}
{{- $gateway := .Values.gateway -}}
{{ include "tideboard.settings.process" . }}
{{ include "tideboard.settings.redis" . }}
TIDEBOARD_GATEWAY_HOST: {{ .Values.listenAddress | quote }}
TIDEBOARD_GATEWAY_PORT: "8080"
{{ include "tideboard.settings.orders" . }}
{{- if include "tideboard.gateway.noticed" . }}
TIDEBOARD_GATEWAY_DRAIN_NOTICE: "0" # preStop is the notice
{{- end }}
TIDEBOARD_GATEWAY_DRAIN_DEADLINE: {{ $gateway.drain.seconds | toString | quote }}
{{- with $gateway.origins }}
TIDEBOARD_GATEWAY_ORIGINS: {{ join "," . | quote }}
{{- end }}
{{- with $gateway.trustedProxies }}
TIDEBOARD_GATEWAY_TRUSTED_PROXIES: {{ join "," . | quote }}
{{- end }}
TIDEBOARD_GATEWAY_AUTH: {{ ternary "jwt" "off" (eq $gateway.auth.mode "jwt") | quote }}
{{- if eq $gateway.auth.mode "jwt" }}
{{- if include "tideboard.tokens.secret" . }}
TIDEBOARD_GATEWAY_SECRET_FILE: /etc/tideboard/tokens/secret
{{- end }}
{{- if $gateway.auth.keySecret }}
TIDEBOARD_GATEWAY_KEY_FILE: /etc/tideboard/tokens/keys.pem
{{- end }}
{{- with $gateway.auth.jwks }}
TIDEBOARD_GATEWAY_JWKS: {{ . | quote }}
{{- end }}
{{- if $gateway.auth.jwksCaSecret }}
TIDEBOARD_GATEWAY_JWKS_CA_FILE: /etc/tideboard/tokens/jwks-ca.crt
{{- end }}
{{- with $gateway.auth.audiences }}
TIDEBOARD_GATEWAY_AUDIENCES: {{ join "," . | quote }}
{{- end }}
{{- with $gateway.auth.issuers }}
TIDEBOARD_GATEWAY_ISSUERS: {{ join "," . | quote }}
{{- end }}
TIDEBOARD_GATEWAY_DASHBOARDS_CLAIM: {{ $gateway.auth.dashboardsClaim | quote }}
{{- end }}
{{- end }}

{{/* Whether tokens are signed with a secret that gateways hold: one that is named, or ours where nothing else is named. */}}
{{- define "tideboard.tokens.secret" -}}
{{- with .Values.gateway.auth }}
{{- if and (eq .mode "jwt") (or .existingSecret (not (or .keySecret .jwks))) }}yes{{ end }}
{{- end }}
{{- end }}

{{- define "tideboard.settings.operator" -}}
{{ include "tideboard.settings.process" . }}
{{ include "tideboard.settings.redis" . }}
{{- if include "tideboard.shipped" . }}
TIDEBOARD_OPERATOR_SHIPPED: /etc/tideboard/shipped
TIDEBOARD_OPERATOR_SHIPPED_OWNER: {{ include "tideboard.configmap.shipped" . }}
{{- end }}
{{- end }}

{{- define "tideboard.settings.collector" -}}
{{ include "tideboard.settings.process" . }}
TIDEBOARD_COLLECTOR_URL: http://{{ include "tideboard.host" (list . "ingestor") }}:{{ .Values.ingestor.service.port }}/api/v1/samples
TIDEBOARD_COLLECTOR_INTERVAL_MS: {{ .Values.collector.intervalMs | toString | quote }}
TIDEBOARD_COLLECTOR_GZIP: "true"
{{- end }}

{{- define "tideboard.settings.watcher" -}}
{{ include "tideboard.settings.process" . }}
TIDEBOARD_COLLECTOR_URL: http://{{ include "tideboard.host" (list . "ingestor") }}:{{ .Values.ingestor.service.port }}/api/v1/samples
TIDEBOARD_COLLECTOR_HOST: {{ include "tideboard.component" (list . "watcher") }}
TIDEBOARD_COLLECTOR_MACHINE: "false"
TIDEBOARD_COLLECTOR_SCRAPE: {{ include "tideboard.watched" . | quote }}
TIDEBOARD_COLLECTOR_SCRAPE_MS: {{ .Values.watcher.intervalMs | toString | quote }}
TIDEBOARD_COLLECTOR_GZIP: "true"
{{- end }}

{{/* A component's ConfigMap, whole: the settings above, and its env, which may not say the same. */}}
{{- define "tideboard.configmap" -}}
{{- $root := first . }}
{{- $component := last . }}
{{- $data := include (printf "tideboard.settings.%s" $component) $root | fromYaml }}
{{- range $name, $value := (index $root.Values $component).env }}
{{- if hasKey $data $name }}
{{- fail (printf "%s.env sets %s, which the chart sets from values of its own; search values.yaml for what it is about." $component $name) }}
{{- end }}
{{- $_ := set $data $name (include "tideboard.scalar" $value) }}
{{- end -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "tideboard.metadata" (list $root $component (include "tideboard.component" .) nil) | nindent 2 }}
data:
  {{- toYaml $data | nindent 2 }}
{{- end }}

{{/* A number as it was written: Helm reads large ones as floats, and would write 8.388608e+06. */}}
{{- define "tideboard.scalar" -}}
{{- if kindIs "float64" . }}
{{- if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{/* Passwords and certificates, as projected volumes. Nothing where there are none. */}}
{{- define "tideboard.secrets.kafka" -}}
{{- $kafka := .Values.externalKafka }}
{{- if not .Values.kafka.enabled }}
{{- if $kafka.sasl.mechanism }}
- secret:
    name: {{ include "tideboard.secret.kafka" . | quote }}
    items: [{key: {{ $kafka.sasl.existingSecretKey | quote }}, path: password}]
{{- end }}
{{- include "tideboard.secrets.tls" $kafka.tls }}
{{- end }}
{{- end }}

{{- define "tideboard.secrets.redis" -}}
{{- $redis := .Values.externalRedis }}
{{- if .Values.redis.enabled }}
{{- with .Values.redis.auth.existingSecret }}
- secret:
    name: {{ . | quote }}
    items: [{key: {{ $.Values.redis.auth.existingSecretKey | quote }}, path: password}]
{{- end }}
{{- else }}
{{- if or $redis.password $redis.existingSecret }}
- secret:
    name: {{ include "tideboard.secret.redis" . | quote }}
    items: [{key: {{ $redis.existingSecretPasswordKey | quote }}, path: password}]
{{- end }}
{{- if or $redis.sentinel.password $redis.sentinel.existingSecret }}
- secret:
    name: {{ include "tideboard.secret.sentinel" . | quote }}
    items: [{key: {{ $redis.sentinel.existingSecretPasswordKey | quote }}, path: sentinel-password}]
{{- end }}
{{- include "tideboard.secrets.tls" $redis.tls }}
{{- end }}
{{- end }}

{{- define "tideboard.secrets.tls" -}}
{{- if .enabled }}
{{- with .caSecret }}
- secret:
    name: {{ . | quote }}
    items: [{key: {{ $.caSecretKey | quote }}, path: ca.crt}]
{{- end }}
{{- with .existingSecret }}
- secret:
    name: {{ . | quote }}
    items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.secrets.tokens" -}}
{{- $auth := .Values.gateway.auth }}
{{- if include "tideboard.tokens.secret" . }}
- secret:
    name: {{ include "tideboard.secret.tokens" . | quote }}
    items: [{key: {{ $auth.existingSecretKey | quote }}, path: secret}]
{{- end }}
{{- if eq $auth.mode "jwt" }}
{{- with $auth.keySecret }}
- secret:
    name: {{ . | quote }}
    items: [{key: {{ $auth.keySecretKey | quote }}, path: keys.pem}]
{{- end }}
{{- with $auth.jwksCaSecret }}
- secret:
    name: {{ . | quote }}
    items: [{key: {{ $auth.jwksCaSecretKey | quote }}, path: jwks-ca.crt}]
{{- end }}
{{- end }}
{{- end }}

{{/* What only the kubelet knows. */}}
{{- define "tideboard.env.namespace" -}}
name: POD_NAMESPACE
valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end }}
{{- define "tideboard.env.host" -}}
name: TIDEBOARD_COLLECTOR_HOST
valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- end }}
