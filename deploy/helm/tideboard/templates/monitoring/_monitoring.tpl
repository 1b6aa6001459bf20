{{/* name, namespace, labels and annotations of an object for Prometheus or Grafana: root, name, its values, more labels. */}}
{{- define "tideboard.monitoring.metadata" -}}
{{- $root := index . 0 }}
{{- $values := index . 2 -}}
name: {{ index . 1 | quote }}
namespace: {{ default $root.Release.Namespace $values.namespace | quote }}
labels:
  {{- include "tideboard.labels" (list $root "monitoring") | nindent 2 }}
  {{- with index . 3 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) $values.annotations $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where and how metrics are read. Two labels say whose they are: the alerts and the Grafana dashboard ask for them. */}}
{{- define "tideboard.monitoring.endpoint" -}}
- port: admin
  path: /metrics
  interval: {{ .interval }}
  {{- with .scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  honorLabels: {{ .honorLabels }}
  relabelings:
    - sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_instance]
      targetLabel: release
    - sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_component]
      targetLabel: component
    {{- with .relabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
