{{/* How long a pod may take to end, and a rollout to go on. */}}

{{/* The kubelet itself waits: no shell in the image, and no process. 0 is not allowed before Kubernetes 1.32. */}}
{{- define "tideboard.preStop" -}}
{{- if gt (int .) 0 -}}
preStop: {sleep: {seconds: {{ int . }}}}
{{- end }}
{{- end }}

{{- define "tideboard.ingestor.grace" -}}
{{- with .Values.ingestor }}
{{- if kindIs "invalid" .terminationGracePeriodSeconds }}{{ add .preStopSeconds 15 }}{{ else }}{{ .terminationGracePeriodSeconds }}{{ end }}
{{- end }}
{{- end }}

{{- define "tideboard.gateway.leastGrace" -}}
{{- add .Values.gateway.drain.preStopSeconds .Values.gateway.drain.seconds 10 }}
{{- end }}

{{- define "tideboard.gateway.grace" -}}
{{- if kindIs "invalid" .Values.gateway.terminationGracePeriodSeconds -}}
{{ include "tideboard.gateway.leastGrace" . }}
{{- else -}}
{{ .Values.gateway.terminationGracePeriodSeconds }}
{{- end }}
{{- end }}

{{/* Pods that there may be, each with its grace and the time that it must be ready for; ten minutes at least. */}}
{{- define "tideboard.gateway.progressDeadline" -}}
{{- with .Values.gateway }}
{{- if kindIs "invalid" .progressDeadlineSeconds }}
{{- $pods := eq .autoscaling.mode "none" | ternary .replicaCount .autoscaling.maxReplicas }}
{{- max 600 (mul $pods (add (include "tideboard.gateway.grace" $ | int) .minReadySeconds)) }}
{{- else }}
{{- .progressDeadlineSeconds }}
{{- end }}
{{- end }}
{{- end }}

{{/* How pods are replaced: what is said of rolling only where they roll, for the defaults say it. A list: root, component, and the other way that there is. */}}
{{- define "tideboard.strategy" -}}
{{- $strategy := (index (index . 0).Values (index . 1)).strategy }}
{{- if not (has $strategy.type (list "RollingUpdate" (last .))) }}
{{- fail (printf "%s.strategy.type is %q, and is to be RollingUpdate or %s." (index . 1) (toString $strategy.type) (last .)) }}
{{- end }}
{{- eq $strategy.type "RollingUpdate" | ternary $strategy (omit $strategy "rollingUpdate") | toYaml }}
{{- end }}
