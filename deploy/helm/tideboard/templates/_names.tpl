{{/* Names, labels and images. No other file makes a name. Most take a list: the root, and a component's name. */}}

{{- define "tideboard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, as what is put behind it is up to 22 long, and names of Services end at 63. */}}
{{- define "tideboard.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "tideboard.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of everything of a component, and of its Service. */}}
{{- define "tideboard.component" -}}
{{- printf "%s-%s" (include "tideboard.fullname" (first .)) (last .) }}
{{- end }}

{{- define "tideboard.headless" -}}
{{- printf "%s-headless" (include "tideboard.component" .) }}
{{- end }}

{{/* A Service's whole name in DNS. */}}
{{- define "tideboard.host" -}}
{{- $root := first . }}
{{- printf "%s.%s.svc.%s" (include "tideboard.component" .) $root.Release.Namespace $root.Values.clusterDomain }}
{{- end }}

{{- define "tideboard.serviceAccount.name" -}}
{{- $values := index (first .).Values (last .) }}
{{- if $values.serviceAccount.create }}
{{- default (include "tideboard.component" .) $values.serviceAccount.name }}
{{- else }}
{{- default "default" $values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Secrets that the chart makes where none is named. */}}
{{- define "tideboard.secret.kafka" -}}
{{- default (printf "%s-kafka-password" (include "tideboard.fullname" .)) .Values.externalKafka.sasl.existingSecret }}
{{- end }}
{{- define "tideboard.secret.redis" -}}
{{- default (printf "%s-redis-password" (include "tideboard.fullname" .)) .Values.externalRedis.existingSecret }}
{{- end }}
{{- define "tideboard.secret.sentinel" -}}
{{- default (printf "%s-sentinel-password" (include "tideboard.fullname" .)) .Values.externalRedis.sentinel.existingSecret }}
{{- end }}
{{- define "tideboard.secret.tokens" -}}
{{- default (printf "%s-gateway-tokens" (include "tideboard.fullname" .)) .Values.gateway.auth.existingSecret }}
{{- end }}

{{/* The ConfigMap of the dashboards that come with the release. */}}
{{- define "tideboard.configmap.shipped" -}}
{{- printf "%s-shipped" (include "tideboard.fullname" .) }}
{{- end }}

{{/* What selects a component's pods. It never changes, for selectors cannot. */}}
{{- define "tideboard.selector" -}}
app.kubernetes.io/name: {{ include "tideboard.name" (first .) | quote }}
app.kubernetes.io/instance: {{ (first .).Release.Name | quote }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* What selects all our pods. */}}
{{- define "tideboard.selector.all" -}}
app.kubernetes.io/name: {{ include "tideboard.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "tideboard.labels" -}}
{{- $root := first . }}
{{- with $root.Values.commonLabels }}
{{- toYaml . }}
{{ end }}
{{- include "tideboard.selector" . }}
app.kubernetes.io/part-of: tideboard
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* Labels of pods: none that changes with the chart's version, for then a release that changes nothing else would restart Kafka and Redis. */}}
{{- define "tideboard.podLabels" -}}
{{- $root := first . }}
{{- with merge (dict) (index $root.Values (last .)).podLabels $root.Values.commonLabels }}
{{- toYaml . }}
{{ end }}
{{- include "tideboard.selector" . }}
app.kubernetes.io/part-of: tideboard
{{- end }}

{{/* name, namespace, labels and annotations of an object: root, component, name, more annotations or nil, and perhaps more labels. */}}
{{- define "tideboard.metadata" -}}
{{- $root := index . 0 }}
{{- $annotations := merge (dict) (default (dict) (index . 3)) $root.Values.commonAnnotations -}}
name: {{ index . 2 | quote }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- with gt (len .) 4 | ternary (last .) (dict) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "tideboard.labels" (list $root (index . 1)) | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A component's image: what it does not say itself is the chart's. */}}
{{- define "tideboard.image" -}}
{{- $values := (first .).Values }}
{{- $own := (index $values (last .)).image }}
{{- $registry := coalesce $values.global.imageRegistry $own.registry $values.image.registry }}
{{- $repository := coalesce $own.repository $values.image.repository }}
{{- $version := printf ":%s" (coalesce $own.tag $values.image.tag (first .).Chart.AppVersion) }}
{{- with coalesce $own.digest (ternary "" $values.image.digest (ne $own.tag "")) }}
{{- $version = printf "@%s" . }}
{{- end }}
{{- printf "%s/%s%s" $registry $repository $version | trimPrefix "/" }}
{{- end }}

{{- define "tideboard.pullPolicy" -}}
{{- $values := (first .).Values }}
{{- coalesce (index $values (last .)).image.pullPolicy $values.image.pullPolicy }}
{{- end }}

{{- define "tideboard.pullSecrets" -}}
{{- $names := list }}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . (dict)) "name")) }}
{{- end }}
{{- with uniq $names }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a person reads who looks at a built-in server. */}}
{{- define "tideboard.evaluation" -}}
tideboard.dev/purpose: "for evaluation only: one node, no copies"
{{- end }}
