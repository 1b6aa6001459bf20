{{/* Disruption budgets: how many pods a drain of nodes leaves, and that it always may take one. */}}

{{- define "tideboard.podDisruptionBudget" -}}
{{- $root := first . }}
{{- $values := index $root.Values (last .) }}
{{- if and $values.enabled $values.podDisruptionBudget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "tideboard.metadata" (list $root (last .) (include "tideboard.component" .) nil) | nindent 2 }}
spec:
  {{- with $values.podDisruptionBudget }}
  {{- if kindIs "invalid" .minAvailable }}
  maxUnavailable: {{ .maxUnavailable }}
  {{- else }}
  minAvailable: {{ .minAvailable }}
  {{- end }}
  unhealthyPodEvictionPolicy: {{ .unhealthyPodEvictionPolicy }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "tideboard.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "tideboard.checks.disruption" -}}
{{- range $component, $values := .Values }}
{{- if and (kindIs "map" $values) (hasKey $values "podDisruptionBudget") }}
{{- if and $values.enabled $values.podDisruptionBudget.enabled }}
{{- include "tideboard.checks.budget" (list $ $component) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.checks.budget" -}}
{{- $path := printf "%s.podDisruptionBudget" (last .) }}
{{- $budget := (index (first .).Values (last .)).podDisruptionBudget }}
{{- if eq (last .) "collector" }}
{{- fail "collector.podDisruptionBudget: drains leave pods of DaemonSets alone, and no budget can count them: leave it off." }}
{{- end }}
{{- $key := kindIs "invalid" $budget.minAvailable | ternary "maxUnavailable" "minAvailable" }}
{{- $value := get $budget $key }}
{{- $said := kindIs "invalid" $value | ternary "" (include "tideboard.scalar" $value) }}
{{- if not (regexMatch "^[0-9]+%?$" $said) }}
{{- fail (printf "%s.%s is %q, and is to be a number of pods, or a share of them such as 50%%." $path $key $said) }}
{{- end }}
{{- $least := include "tideboard.least" . | fromYaml }}
{{- if and (eq $key "maxUnavailable") (eq 0 (trimSuffix "%" $said | int)) }}
{{- fail (printf "%s.maxUnavailable is %s, so that no node could ever be drained: 1 lets one pod go at a time." $path $said) }}
{{- end }}
{{- if and (eq $key "minAvailable") (gt (int $least.pods) 0) (ge (include "tideboard.share" (list $said $least.pods) | int) (int $least.pods)) }}
{{- fail (printf "%s.minAvailable is %s, and there may be %v in all (%s), so that no node could ever be drained: leave it out, and maxUnavailable counts." $path $said $least.pods $least.why) }}
{{- end }}
{{- end }}

{{/* How many pods of a component there may be at least, and what says so. */}}
{{- define "tideboard.least" -}}
{{- $component := last . }}
{{- $values := index (first .).Values $component }}
{{- $autoscaling := $values.autoscaling | default dict }}
{{- if eq (get $autoscaling "mode") "operator" }}
pods: 1
why: with {{ $component }}.autoscaling.mode=operator a release begins with one
{{- else if or (eq (get $autoscaling "mode") "hpa") (get $autoscaling "enabled") }}
pods: {{ $autoscaling.minReplicas }}
why: {{ $component }}.autoscaling.minReplicas
{{- else if hasKey $values "replicaCount" }}
pods: {{ $values.replicaCount }}
why: {{ $component }}.replicaCount
{{- else }}
pods: 1
why: it is one pod
{{- end }}
{{- end }}

{{/* A number of pods, or a share of so many: rounded up, as Kubernetes does. */}}
{{- define "tideboard.share" -}}
{{- $said := first . }}
{{- if hasSuffix "%" $said }}
{{- div (add (mul (trimSuffix "%" $said | int) (int (last .))) 99) 100 }}
{{- else }}
{{- $said }}
{{- end }}
{{- end }}
