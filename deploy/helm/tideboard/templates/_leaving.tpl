{{/* How long a pod may take to end, and a rollout to go on. */}}

{{/* The kubelet itself waits: no shell in the image, and no process. 0 is not allowed before Kubernetes 1.32. */}}
{{- define "tideboard.preStop" -}}
{{- if gt (int .) 0 -}}
preStop: {sleep: {seconds: {{ int . }}}}
{{- end }}
{{- end }}

{{/* What a container does before it ends, within the time that its pod has. A list: component, its lifecycle, and that time. */}}
{{- define "tideboard.checks.sleep" -}}
{{- $sleep := dig "preStop" "sleep" "seconds" 0 (index . 1) | int }}
{{- if gt $sleep (int (last .)) }}
{{- fail (printf "%s.terminationGracePeriodSeconds is %v, and its preStop sleeps for %d s: set it to that at least, with some seconds to end, or leave it out." (first .) (last .) $sleep) }}
{{- end }}
{{- end }}

{{- define "tideboard.ingestor.grace" -}}
{{- with .Values.ingestor }}
{{- if kindIs "invalid" .terminationGracePeriodSeconds }}{{ add .preStopSeconds 15 }}{{ else }}{{ .terminationGracePeriodSeconds }}{{ end }}
{{- end }}
{{- end }}

{{/* Whether the chart's own preStop gives balancers the time to hear of it; otherwise the gateway itself must, as it does by default. */}}
{{- define "tideboard.gateway.noticed" -}}
{{- with .Values.gateway }}
{{- if and (not .lifecycle) (gt (int .drain.preStopSeconds) 0) }}yes{{ end }}
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
{{- if eq $strategy.type "RollingUpdate" }}
{{- include "tideboard.rolling" (list (index . 1) (get $strategy "rollingUpdate" | default dict) (last .)) }}
{{- end }}
{{- eq $strategy.type "RollingUpdate" | ternary $strategy (omit $strategy "rollingUpdate") | toYaml }}
{{- end }}

{{/* What an API server would refuse of rolling. A list: component, rollingUpdate, and the other way that there is, which for Deployments is Recreate. */}}
{{- define "tideboard.rolling" -}}
{{- $path := printf "%s.strategy.rollingUpdate" (first .) }}
{{- $rolling := index . 1 }}
{{- range $key := list "maxSurge" "maxUnavailable" }}
{{- with get $rolling $key }}
{{- if not (regexMatch "^[0-9]+%?$" (include "tideboard.scalar" .)) }}
{{- fail (printf "%s.%s is %q, and is to be a number of pods, or a share of them such as 25%%." $path $key (toString .)) }}
{{- end }}
{{- end }}
{{- end }}
{{- $deployment := eq (last .) "Recreate" }}
{{- $daemons := eq (first .) "collector" }}
{{- $surge := include "tideboard.any" (list $rolling "maxSurge" (ternary 1 0 $deployment)) }}
{{- $away := include "tideboard.any" (list $rolling "maxUnavailable" 1) }}
{{- if and (or $deployment $daemons) (not $surge) (not $away) }}
{{- fail (printf "%s.maxSurge and maxUnavailable are both 0, so that no pod could ever be replaced: set one of them to 1." $path) }}
{{- end }}
{{- if and $daemons $surge $away }}
{{- fail (printf "%s has maxSurge and maxUnavailable, and a DaemonSet takes one of them: set the other one to 0." $path) }}
{{- end }}
{{- end }}

{{/* Whether a number of pods, or a share of them, is more than 0. A list: rollingUpdate, the key, and what Kubernetes takes where nothing is said. */}}
{{- define "tideboard.any" -}}
{{- $said := hasKey (first .) (index . 1) | ternary (get (first .) (index . 1)) (last .) }}
{{- if gt (include "tideboard.scalar" $said | trimSuffix "%" | int) 0 }}yes{{ end }}
{{- end }}

{{/* A Deployment is not to count as failed before a pod may count as ready. */}}
{{- define "tideboard.checks.progress" -}}
{{- range $component := list "ingestor" "gateway" "operator" "watcher" }}
{{- $values := index $.Values $component }}
{{- $gateway := eq $component "gateway" }}
{{- $deadline := $gateway | ternary (include "tideboard.gateway.progressDeadline" $) "600" | trim | int }}
{{- if and $values.enabled (ge (int $values.minReadySeconds) $deadline) }}
{{- fail (printf "%s.minReadySeconds is %v, and a rollout counts as failed after %d s without progress%s: %sset minReadySeconds to less." $component $values.minReadySeconds $deadline (ternary " (gateway.progressDeadlineSeconds)" "" $gateway) (ternary "raise that, or " "" $gateway)) }}
{{- end }}
{{- end }}
{{- end }}
