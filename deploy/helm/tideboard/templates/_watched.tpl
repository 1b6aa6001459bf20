{{/* Who the watcher reads, and under which names: a Service without an address of its own leads to each pod. */}}

{{- define "tideboard.watched" -}}
{{- $targets := list }}
{{- range $component := list "ingestor" "aggregator" "gateway" "operator" "collector" }}
{{- if (index $.Values $component).enabled }}
{{- $host := printf "%s.%s.svc.%s" (include "tideboard.headless" (list $ $component)) $.Release.Namespace $.Values.clusterDomain }}
{{- $targets = append $targets (printf "%s=dns+http://%s:9100/metrics" $component $host) }}
{{- end }}
{{- end }}
{{- join "," $targets }}
{{- end }}

{{/* Such a Service, for a component that nobody else asks for its single pods. */}}
{{- define "tideboard.headlessService" -}}
{{- $root := first . }}
{{- if (index $root.Values (last .)).enabled }}
apiVersion: v1
kind: Service
metadata:
  {{- include "tideboard.metadata" (list $root (last .) (include "tideboard.headless" .) nil) | nindent 2 }}
spec:
  type: ClusterIP
  clusterIP: None
  selector:
    {{- include "tideboard.selector" . | nindent 4 }}
  ports:
    - {name: admin, port: 9100, targetPort: admin, protocol: TCP}
{{- end }}
{{- end }}
