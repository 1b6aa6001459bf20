{{/* NetworkPolicies. `network/default-deny.yaml` refuses everything but DNS; each component's policy opens its own edges, both ends of each. */}}

{{/*
A component's policies. A dict: root, component, ingress and egress: lists of rules. One for each direction: kube-router, which k3s has, too, reads
all rules of a policy for both, so that of one policy for both, "all pods may connect to me" would let its own pods out to each other.
*/}}
{{- define "tideboard.networkPolicy" -}}
{{- $root := .root }}
{{- $values := index $root.Values .component }}
{{- $both := list $root .component }}
{{- if and $root.Values.networkPolicy.enabled $values.enabled $values.networkPolicy.enabled }}
{{- $rules := dict
      "Ingress" (concat (default (list) .ingress) $values.networkPolicy.extraIngress)
      "Egress" (concat (default (list) .egress) $values.networkPolicy.extraEgress) }}
{{- range $direction := list "Ingress" "Egress" }}
{{- with index $rules $direction }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- $name := printf "%s-%s" (include "tideboard.component" $both) (lower $direction) }}
  {{- include "tideboard.metadata" (list $root (last $both) $name nil) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "tideboard.selector" $both | nindent 6 }}
  policyTypes: [{{ $direction }}]
  {{ lower $direction }}:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Peers: our pods of these components. A list: root, and a list of names. */}}
{{- define "tideboard.peers" -}}
{{- range last . }}
- podSelector:
    matchLabels:
      {{- include "tideboard.selector" (list (first $) .) | nindent 6 }}
{{- end }}
{{- end }}

{{/* Rules, as a YAML list each. Empty peers mean anybody. */}}

{{- define "tideboard.edge.metrics" -}}
- ports: [{port: 9100, protocol: TCP}]
  from:
    {{- include "tideboard.peers" (list . (list "watcher")) | nindent 4 }}
    {{- with .Values.networkPolicy.metricsFrom }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "tideboard.edge.in" -}}
- ports: [{port: {{ index . 2 }}, protocol: TCP}]
  from:
    {{- include "tideboard.peers" (list (index . 0) (index . 1)) | nindent 4 }}
{{- end }}

{{- define "tideboard.edge.out" -}}
- ports: [{port: {{ index . 2 }}, protocol: TCP}]
  to:
    {{- include "tideboard.peers" (list (index . 0) (index . 1)) | nindent 4 }}
{{- end }}

{{- define "tideboard.edge.from" -}}
- ports: [{port: {{ index . 1 }}, protocol: TCP}]
  {{- with index . 0 }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "tideboard.edge.kafka" -}}
{{- if .Values.kafka.enabled }}
{{- include "tideboard.edge.out" (list . (list "kafka") 9092) }}
{{- else }}
{{- $more := include "tideboard.ports" .Values.networkPolicy.externalKafkaPorts | fromYamlArray }}
{{- include "tideboard.edge.outside" (list (concat .Values.externalKafka.brokers $more) 9092 .Values.networkPolicy.externalKafkaTo) }}
{{- end }}
{{- end }}

{{- define "tideboard.edge.redis" -}}
{{- $redis := .Values.externalRedis }}
{{- if .Values.redis.enabled }}
{{- include "tideboard.edge.out" (list . (list "redis") 6379) }}
{{- else }}
{{- $more := include "tideboard.ports" (prepend .Values.networkPolicy.externalRedisPorts $redis.port) | fromYamlArray }}
{{- $hosts := concat $redis.sentinel.hosts $redis.cluster.hosts $more }}
{{- include "tideboard.edge.outside" (list $hosts 26379 .Values.networkPolicy.externalRedisTo) }}
{{- end }}
{{- end }}

{{/* Ports as hosts without a name. */}}
{{- define "tideboard.ports" -}}
{{- range . }}
- ":{{ . }}"
{{- end }}
{{- end }}

{{/* To servers of others: host:port as text, the port where none is said, and peers. */}}
{{- define "tideboard.edge.outside" -}}
{{- $ports := list }}
{{- range index . 0 }}
{{- $ports = append $ports (regexFind "[0-9]+$" (regexFind ":[0-9]+$" .) | default (index $ 1) | int) }}
{{- end -}}
- ports:
    {{- range uniq $ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with index . 2 }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "tideboard.edge.apiServer" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.apiServerCIDRs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  {{- end }}
{{- end }}

{{/* To where a JWK set lies. */}}
{{- define "tideboard.edge.jwks" -}}
{{- with .Values.gateway.auth }}
{{- if and (eq .mode "jwt") (hasPrefix "http" .jwks) }}
{{- $url := urlParse .jwks }}
- ports: [{port: {{ regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) }}, protocol: TCP}]
{{- end }}
{{- end }}
{{- end }}
