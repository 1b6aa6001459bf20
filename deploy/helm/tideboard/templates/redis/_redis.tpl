{{/* The built-in Redis: what its ConfigMap holds. */}}

{{/* protected-mode: with a Secret that holds nothing there would be no password, and so only the pod itself gets in. */}}
{{- define "tideboard.redis.conf" -}}
{{- $redis := .Values.redis }}
{{- $lines := dict
  "bind" "* -::*"
  "port" "6379"
  "protected-mode" (empty $redis.auth.existingSecret | ternary "no" "yes")
  "dir" "/data"
  "appendonly" "yes"
  "appendfsync" $redis.appendFsync
  "save" "\"\""
  "maxmemory" $redis.maxMemory
  "maxmemory-policy" "noeviction"
}}
{{- range $name, $value := $redis.config }}
{{- $_ := set $lines $name (include "tideboard.scalar" $value) }}
{{- end }}
{{- range $name, $value := $lines }}
{{ $name }} {{ $value }}
{{- end }}
{{- end }}

{{- define "tideboard.redis.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "tideboard.metadata" (list . "redis" (include "tideboard.component" (list . "redis")) nil) | nindent 2 }}
data:
  valkey.conf: |
    {{- include "tideboard.redis.conf" . | trim | nindent 4 }}
{{- end }}

{{- define "tideboard.redis.args" -}}
- /etc/tideboard/valkey.conf
{{- if .Values.redis.auth.existingSecret }}
- --include
- /run/tideboard/password.conf
{{- end }}
{{- end }}

{{/*
Before it: the password as a line of configuration, in memory. As an argument or a variable of the server it would be in sight of whoever sees the
node's processes or containers. sed alone does it, so that the image needs no shell.
*/}}
{{- define "tideboard.redis.init" -}}
{{- if .Values.redis.auth.existingSecret }}
- name: password
  image: {{ include "tideboard.image" (list . "redis") }}
  imagePullPolicy: {{ include "tideboard.pullPolicy" (list . "redis") }}
  securityContext:
    {{- include "tideboard.merged" (list .Values.containerSecurityContext .Values.redis.containerSecurityContext) | nindent 4 }}
  command: [sed, -n]
  args: [-e, 's/\r$//', -e, 's/["\\]/\\&/g', -e, '1s/.*/requirepass "&"/w /run/tideboard/password.conf', /etc/tideboard/redis/password]
  resources:
    {{- toYaml .Values.redis.resources | nindent 4 }}
  volumeMounts:
    - {name: secrets-redis, mountPath: /etc/tideboard/redis, readOnly: true}
    - {name: password, mountPath: /run/tideboard}
{{- end }}
{{- end }}

{{- define "tideboard.redis.mounts" -}}
- {name: config, mountPath: /etc/tideboard, readOnly: true}
- {name: data, mountPath: /data}
{{- if .Values.redis.auth.existingSecret }}
- {name: password, mountPath: /run/tideboard, readOnly: true}
{{- end }}
{{- end }}

{{- define "tideboard.redis.volumes" -}}
- name: config
  configMap: {name: {{ include "tideboard.component" (list . "redis") }}}
{{- if .Values.redis.auth.existingSecret }}
- name: secrets-redis
  projected:
    defaultMode: 0440
    sources:
      {{- include "tideboard.secrets.redis" . | nindent 6 }}
- name: password
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
{{ include "tideboard.dataVolume" .Values.redis }}
{{- end }}
