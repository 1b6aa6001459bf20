{{/* The built-in Redis: what its ConfigMap holds. */}}

{{- define "tideboard.redis.conf" -}}
{{- $redis := .Values.redis }}
{{- $lines := dict
  "bind" "* -::*"
  "port" "6379"
  "protected-mode" "no"
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
- --requirepass
- $(VALKEY_PASSWORD)
{{- end }}
{{- end }}

{{- define "tideboard.redis.env" -}}
{{- with .Values.redis.auth }}
{{- if .existingSecret }}
- name: VALKEY_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .existingSecretKey }}}}
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.redis.mounts" -}}
- {name: config, mountPath: /etc/tideboard, readOnly: true}
- {name: data, mountPath: /data}
{{- end }}

{{- define "tideboard.redis.volumes" -}}
- name: config
  configMap: {name: {{ include "tideboard.component" (list . "redis") }}}
{{ include "tideboard.dataVolume" .Values.redis }}
{{- end }}
