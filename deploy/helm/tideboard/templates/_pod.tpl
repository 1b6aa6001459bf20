{{/* Pods: what all of them have in common. A workload's file says what is its own. */}}

{{/*
A pod template. A dict: root, component, and
  config    ConfigMaps as text, with "---" between them; another content means new pods
  secrets   names of "tideboard.secrets.NAME" that are mounted under /etc/tideboard/NAME
  command, args, ports, env, volumes, mounts, lifecycle   of the main container
  init      containers before it
  grace     terminationGracePeriodSeconds
  probe     the handler of its probes
*/}}
{{- define "tideboard.pod" -}}
{{- $root := .root }}
{{- $component := .component }}
{{- $values := index $root.Values $component }}
{{- $both := list $root $component }}
{{- $secrets := dict }}
{{- range $name := .secrets }}
{{- with include (printf "tideboard.secrets.%s" $name) $root | fromYamlArray }}
{{- $_ := set $secrets $name . }}
{{- end }}
{{- end -}}
{{- include "tideboard.checks.sleep" (list $component (default .lifecycle $values.lifecycle | default dict) .grace) -}}
metadata:
  labels:
    {{- include "tideboard.podLabels" $both | nindent 4 }}
  annotations:
    {{- with merge (dict) $values.podAnnotations $root.Values.commonAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    checksum/config: {{ include "tideboard.checksum" .config }}
spec:
  serviceAccountName: {{ include "tideboard.serviceAccount.name" $both | quote }}
  automountServiceAccountToken: {{ $values.serviceAccount.automountServiceAccountToken }}
  enableServiceLinks: false # they would set TIDEBOARD_GATEWAY_PORT
  {{- with include "tideboard.pullSecrets" $root | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  securityContext:
    {{- include "tideboard.merged" (list $root.Values.podSecurityContext $values.podSecurityContext) | nindent 4 }}
  terminationGracePeriodSeconds: {{ .grace }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "tideboard.spread" (list $root $component (default false .spread)) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with concat (default (list) .init) $values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $component }}
      image: {{ include "tideboard.image" $both }}
      imagePullPolicy: {{ include "tideboard.pullPolicy" $both }}
      securityContext:
        {{- include "tideboard.merged" (list $root.Values.containerSecurityContext $values.containerSecurityContext) | nindent 8 }}
      {{- with default .command $values.command }}
      command:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      args:
        {{- toYaml (concat (default .args $values.args) $values.extraArgs) | nindent 8 }}
      {{- with .ports }}
      ports:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with include "tideboard.envFrom" (list $root $component) | fromYamlArray }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with include "tideboard.env" (list $root $component (default (list) .env)) | fromYamlArray }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- range $name := list "startupProbe" "readinessProbe" "livenessProbe" }}
      {{- with index $values $name }}
      {{ $name }}:
        {{- include "tideboard.probe" (list . (index $.probe $name)) | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- with default .lifecycle $values.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- range $name := keys $secrets | sortAlpha }}
        - {name: secrets-{{ $name }}, mountPath: /etc/tideboard/{{ $name }}, readOnly: true}
        {{- end }}
        {{- with concat (default (list) .mounts) $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- range $name, $sources := $secrets }}
    - name: secrets-{{ $name }}
      projected:
        defaultMode: 0440
        sources:
          {{- toYaml $sources | nindent 10 }}
    {{- end }}
    {{- with concat (default (list) .volumes) $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Of what ConfigMaps hold, without their labels: those change with the chart's version, as in "tideboard.podLabels". */}}
{{- define "tideboard.checksum" -}}
{{- $data := list }}
{{- range splitList "\n---\n" . }}
{{- $data = append $data (fromYaml .).data }}
{{- end }}
{{- toJson $data | sha256sum }}
{{- end }}

{{/* Two maps as one, the second one's word counting; null takes something out (a fixed user on OpenShift). */}}
{{- define "tideboard.merged" -}}
{{- $found := dict }}
{{- range $name, $value := merge (dict) (last .) (first .) }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $found $name $value }}{{ end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{/* A probe: its times from the values, and what is asked from the chart, unless the values say that, too. */}}
{{- define "tideboard.probe" -}}
{{- $probe := deepCopy (first .) }}
{{- if not (or $probe.httpGet $probe.exec $probe.tcpSocket $probe.grpc) }}
{{- $probe = merge $probe (last .) }}
{{- end }}
{{- toYaml $probe }}
{{- end }}

{{/* The probes of our own services. docs/operations.md says what each answer means. */}}
{{- define "tideboard.probes.admin" -}}
startupProbe: {httpGet: {path: /livez, port: admin}}
readinessProbe: {httpGet: {path: /readyz, port: admin}}
livenessProbe: {httpGet: {path: /livez, port: admin}}
{{- end }}

{{- define "tideboard.probes.tcp" -}}
{{- range list "startupProbe" "readinessProbe" "livenessProbe" }}
{{ . }}: {tcpSocket: {port: {{ $ }}}}
{{- end }}
{{- end }}

{{/* extraEnv and what the chart sets; a name that is there twice is refused, as server-side apply would with a riddle. */}}
{{- define "tideboard.env" -}}
{{- $component := index . 1 }}
{{- $env := concat (index . 2) (index (index . 0).Values $component).extraEnv }}
{{- $seen := dict }}
{{- range $env }}
{{- if hasKey $seen .name }}
{{- fail (printf "%s.extraEnv: %s is set twice; name each variable once." $component .name) }}
{{- end }}
{{- $_ := set $seen .name true }}
{{- end }}
{{- toYaml $env }}
{{- end }}

{{- define "tideboard.envFrom" -}}
{{- $from := list }}
{{- if has (last .) (list "ingestor" "aggregator" "gateway" "operator" "collector" "watcher") }}
{{- $from = append $from (dict "configMapRef" (dict "name" (include "tideboard.component" .))) }}
{{- end }}
{{- toYaml (concat $from (index (first .).Values (last .)).extraEnvFrom) }}
{{- end }}

{{/* Over zones and nodes, where that is possible. byRevision: count only pods of the same ReplicaSet, or a rollout would spread against its own past. */}}
{{- define "tideboard.spread" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- with (index $root.Values $component).topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- else }}
{{- if and $root.Values.defaultTopologySpread (has $component (list "ingestor" "aggregator" "gateway" "operator")) }}
topologySpreadConstraints:
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "tideboard.selector" (list $root $component) | nindent 8 }}
    {{- if index $ 2 }}
    matchLabelKeys: [pod-template-hash]
    {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.serviceAccount" -}}
{{- $root := first . }}
{{- $values := index $root.Values (last .) }}
{{- if and $values.enabled $values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "tideboard.metadata" (list $root (last .) (include "tideboard.serviceAccount.name" .) $values.serviceAccount.annotations) | nindent 2 }}
automountServiceAccountToken: false # pods that need it say so
{{- end }}
{{- end }}

{{/* A Service with one port: root, component, name of the port. */}}
{{- define "tideboard.service" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $service := (index $root.Values $component).service -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "tideboard.metadata" (list $root $component (include "tideboard.component" (list $root $component)) $service.annotations) | nindent 2 }}
spec:
  type: {{ $service.type }}
  {{- with $service.trafficDistribution }}
  trafficDistribution: {{ . }}
  {{- end }}
  selector:
    {{- include "tideboard.selector" (list $root $component) | nindent 4 }}
  ports:
    - name: {{ index . 2 }}
      port: {{ $service.port }}
      targetPort: {{ index . 2 }}
      protocol: TCP
      {{- with $service.appProtocol }}
      appProtocol: {{ . }}
      {{- end }}
{{- end }}

{{/* A HorizontalPodAutoscaler of a Deployment. */}}
{{- define "tideboard.autoscaler" -}}
{{- $root := first . }}
{{- $name := include "tideboard.component" . }}
{{- $autoscaling := (index $root.Values (last .)).autoscaling -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "tideboard.metadata" (list $root (last .) $name nil) | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ $name }}}
  minReplicas: {{ $autoscaling.minReplicas }}
  maxReplicas: {{ $autoscaling.maxReplicas }}
  metrics:
    {{- with $autoscaling.metrics }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $autoscaling.targetCPUUtilizationPercentage }}}
    {{- end }}
  {{- with $autoscaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Where a server's data lies, where it has no claim template: the volume `data`. */}}
{{- define "tideboard.dataVolume" -}}
{{- with .persistence }}
{{- if not .enabled }}
- name: data
  emptyDir: {}
{{- else if .existingClaim }}
- name: data
  persistentVolumeClaim: {claimName: {{ .existingClaim | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.claimTemplates" -}}
{{- $persistence := (index (first .).Values (last .)).persistence }}
{{- if and $persistence.enabled (not $persistence.existingClaim) }}
volumeClaimTemplates:
  - metadata:
      name: data
      labels:
        {{- include "tideboard.selector" . | nindent 8 }}
      {{- with $persistence.annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      accessModes: {{ toJson $persistence.accessModes }}
      {{- with $persistence.storageClass }}
      storageClassName: {{ . | quote }}
      {{- end }}
      resources:
        requests:
          storage: {{ $persistence.size }}
{{- end }}
{{- end }}
