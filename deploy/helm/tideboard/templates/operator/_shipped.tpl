{{/* The dashboards that come with the release, as files that the operator makes resources of: a release cannot hold a definition and a resource of it. */}}

{{/* Names of the files, with spaces between; empty: none. */}}
{{- define "tideboard.shipped" -}}
{{- $names := list }}
{{- if .Values.shippedDashboards.enabled }}{{ $names = concat $names (list "host" "tideboard") }}{{ end }}
{{- if include "tideboard.tests.wanted" . }}{{ $names = append $names "check" }}{{ end }}
{{- join " " $names }}
{{- end }}

{{/* Names of all that some release has shipped: what is not shipped any more is taken away. */}}
{{- define "tideboard.shipped.ever" -}}
check host tideboard
{{- end }}

{{- define "tideboard.shipped.configmap" -}}
{{- $root := . -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "tideboard.metadata" (list . "operator" (include "tideboard.configmap.shipped" .) nil) | nindent 2 }}
data:
  {{- range $name := splitList " " (include "tideboard.shipped" .) }}
  {{ $name }}.yaml: |
    {{- $root.Files.Get (printf "files/dashboards/%s.yaml" $name) | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "tideboard.shipped.volumes" -}}
{{- if include "tideboard.shipped" . }}
- name: shipped
  configMap: {name: {{ include "tideboard.configmap.shipped" . }}}
{{- end }}
{{- end }}

{{- define "tideboard.shipped.mounts" -}}
{{- if include "tideboard.shipped" . }}
- {name: shipped, mountPath: /etc/tideboard/shipped, readOnly: true}
{{- end }}
{{- end }}

{{/* What the operator is told, and what it is to ship: either means new pods. */}}
{{- define "tideboard.operator.config" -}}
{{ include "tideboard.configmap" (list . "operator") }}
{{- if include "tideboard.shipped" . }}
---
{{ include "tideboard.shipped.configmap" . }}
{{- end }}
{{- end }}
