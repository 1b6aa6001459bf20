{{/* What values cannot be together, each with the sentence that says what to do. The schema refuses what is wrong by itself. */}}

{{- define "tideboard.checks" -}}
{{- include "tideboard.shapes" . }}
{{- include "tideboard.checks.kafka" . }}
{{- include "tideboard.checks.redis" . }}
{{- include "tideboard.checks.gateway" . }}
{{- include "tideboard.checks.exposure" . }}
{{- include "tideboard.checks.components" . }}
{{- include "tideboard.checks.disruption" . }}
{{- include "tideboard.checks.memory" . }}
{{- include "tideboard.checks.progress" . }}
{{- end }}

{{- define "tideboard.checks.kafka" -}}
{{- $kafka := .Values.externalKafka }}
{{- $sasl := $kafka.sasl }}
{{- if and .Values.kafka.enabled $kafka.brokers }}
{{- fail "kafka.enabled and externalKafka.brokers are both set, and one log is needed: set kafka.enabled=false to use your own brokers." }}
{{- end }}
{{- if not (or .Values.kafka.enabled $kafka.brokers) }}
{{- fail "No Kafka is chosen: set externalKafka.brokers to your own (host:port), or kafka.enabled=true for the built-in one, which is for evaluation only." }}
{{- end }}
{{- range $kafka.brokers }}
{{- if not (regexMatch "^[^/:]+:[0-9]+$|^\\[[0-9a-fA-F:.]+\\]:[0-9]+$" .) }}
{{- fail (printf "externalKafka.brokers: %q is not host:port." .) }}
{{- end }}
{{- end }}
{{- if and $sasl.mechanism (not $sasl.username) }}
{{- fail (printf "externalKafka.sasl.mechanism is %s, which needs externalKafka.sasl.username." $sasl.mechanism) }}
{{- end }}
{{- if and $sasl.mechanism (not (or $sasl.password $sasl.existingSecret)) }}
{{- fail (printf "externalKafka.sasl.mechanism is %s, which needs a password: name a Secret in externalKafka.sasl.existingSecret." $sasl.mechanism) }}
{{- end }}
{{- if and (not $sasl.mechanism) (or $sasl.username $sasl.password $sasl.existingSecret) }}
{{- fail "externalKafka.sasl has a user or a password and no mechanism: set externalKafka.sasl.mechanism to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512." }}
{{- end }}
{{- if and .Values.kafka.enabled (gt (int .Values.topics.replication) 1) }}
{{- fail "topics.replication is more than 1, and the built-in Kafka is one broker: set it to 1, or use Kafka of your own." }}
{{- end }}
{{- end }}

{{- define "tideboard.checks.redis" -}}
{{- $redis := .Values.externalRedis }}
{{- if and $redis.host $redis.sentinel.hosts }}
{{- fail "externalRedis.host and externalRedis.sentinel.hosts are both set: name the one server, or the Sentinels that know it." }}
{{- end }}
{{- include "tideboard.checks.redisCluster" $redis }}
{{- $own := or $redis.host $redis.sentinel.hosts $redis.cluster.hosts }}
{{- if and .Values.redis.enabled $own }}
{{- fail "redis.enabled and externalRedis are both set, and one feed is needed: set redis.enabled=false to use your own." }}
{{- end }}
{{- if not (or .Values.redis.enabled $own) }}
{{- fail "No Redis is chosen: set externalRedis.host, externalRedis.sentinel.hosts or externalRedis.cluster.hosts to your own, or redis.enabled=true for the built-in one, which is for evaluation only." }}
{{- end }}
{{- if regexMatch "[:/@]" (regexReplaceAll "^\\[[0-9a-fA-F:.]+\\]$" $redis.host "") }}
{{- fail (printf "externalRedis.host: %q is more than a host; the port goes into externalRedis.port, user and password into externalRedis.username and externalRedis.existingSecret." $redis.host) }}
{{- end }}
{{- if and $redis.sentinel.hosts (not $redis.sentinel.service) }}
{{- fail "externalRedis.sentinel.hosts is set, which needs externalRedis.sentinel.service: the name of what the Sentinels watch." }}
{{- end }}
{{- end }}

{{/* Of externalRedis. */}}
{{- define "tideboard.checks.redisCluster" -}}
{{- if and .cluster.enabled (not .cluster.hosts) }}
{{- fail "externalRedis.cluster.enabled is true, which needs externalRedis.cluster.hosts: some of its servers, as host:port." }}
{{- end }}
{{- if and .cluster.hosts (not .cluster.enabled) }}
{{- fail "externalRedis.cluster.hosts is set, which needs externalRedis.cluster.enabled=true; Sentinels go into externalRedis.sentinel.hosts, one server into externalRedis.host." }}
{{- end }}
{{- if .cluster.enabled }}
{{- range $name, $set := dict "externalRedis.host" .host "externalRedis.sentinel.hosts" .sentinel.hosts }}
{{- if $set }}
{{- fail (printf "%s and externalRedis.cluster are both set: a Redis Cluster fails over by itself, and is named by externalRedis.cluster.hosts alone." $name) }}
{{- end }}
{{- end }}
{{- if .database }}
{{- fail (printf "externalRedis.database is %v, and a Redis Cluster has none but 0." .database) }}
{{- end }}
{{- range .cluster.hosts }}
{{- if not (regexMatch "^[^/:@]+:[0-9]+$|^\\[[0-9a-fA-F:.]+\\]:[0-9]+$" .) }}
{{- fail (printf "externalRedis.cluster.hosts: %q is not host:port." .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.checks.gateway" -}}
{{- $gateway := .Values.gateway }}
{{- $least := include "tideboard.gateway.leastGrace" . | int }}
{{- if not (kindIs "invalid" $gateway.terminationGracePeriodSeconds) }}
{{- if lt (int $gateway.terminationGracePeriodSeconds) $least }}
{{- fail (printf "gateway.terminationGracePeriodSeconds is %v, and viewers are handed over for up to %d s (drain.preStopSeconds + drain.seconds + 10): set it to that at least, or leave it out." $gateway.terminationGracePeriodSeconds $least) }}
{{- end }}
{{- end }}
{{- if not (or (include "tideboard.gateway.noticed" .) (gt (int $gateway.drain.seconds) 5) (hasKey $gateway.env "TIDEBOARD_GATEWAY_DRAIN_NOTICE")) }}
{{- fail (printf "gateway.drain.seconds is %v, and without the chart's own preStop the first 5 of them are for balancers to hear of it (TIDEBOARD_GATEWAY_DRAIN_NOTICE): set it to more." $gateway.drain.seconds) }}
{{- end }}
{{- if and (eq $gateway.auth.mode "none") (or $gateway.auth.existingSecret $gateway.auth.keySecret $gateway.auth.jwks) }}
{{- fail "gateway.auth.mode is none, and keys for tokens are named: set gateway.auth.mode=jwt to use them." }}
{{- end }}
{{- with $gateway.auth.jwks }}
{{- if contains "://" . }}
{{- $url := urlParse . }}
{{- if not (or (eq $url.scheme "https") (and (eq $url.scheme "http") (has $url.hostname (list "127.0.0.1" "localhost" "::1")))) }}
{{- fail (printf "gateway.auth.jwks is %s://%s, and is to begin with https://: whoever answers for it decides who gets in." $url.scheme $url.hostname) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq $gateway.autoscaling.mode "hpa") (gt (int $gateway.autoscaling.minReplicas) (int $gateway.autoscaling.maxReplicas)) }}
{{- fail "gateway.autoscaling.minReplicas is more than maxReplicas." }}
{{- end }}
{{- if and .Values.ingestor.autoscaling.enabled (gt (int .Values.ingestor.autoscaling.minReplicas) (int .Values.ingestor.autoscaling.maxReplicas)) }}
{{- fail "ingestor.autoscaling.minReplicas is more than maxReplicas." }}
{{- end }}
{{- end }}

{{- define "tideboard.checks.exposure" -}}
{{- with .Values.gateway.ingress }}
{{- if and .enabled (not .hosts) }}
{{- fail "gateway.ingress.enabled is set, which needs gateway.ingress.hosts: [{host: wall.example}]." }}
{{- end }}
{{- range .hosts }}
{{- if not .host }}
{{- fail "gateway.ingress.hosts: each is an object with a host: [{host: wall.example}]." }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.gateway.httpRoute }}
{{- if and .enabled (not .parentRefs) }}
{{- fail "gateway.httpRoute.enabled is set, which needs gateway.httpRoute.parentRefs: the Gateways that it belongs to, [{name: public}]." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.checks.components" -}}
{{- if and .Values.operator.enabled .Values.operator.rbac.create (eq "default" (include "tideboard.serviceAccount.name" (list . "operator"))) }}
{{- fail "operator.serviceAccount: every pod of the namespace would get the operator's rights, as it would run under the default service account: set operator.serviceAccount.create, or name another one." }}
{{- end }}
{{- range $component := list "collector" "watcher" }}
{{- if and (index $.Values $component).enabled (not $.Values.ingestor.enabled) }}
{{- fail (printf "%s.enabled needs ingestor.enabled: there is nobody to post to." $component) }}
{{- end }}
{{- end }}
{{- end }}
