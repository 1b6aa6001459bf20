{{/* What the built-in servers are told that they may take, against what their containers may: who takes more is killed, and begins, and is killed again. */}}

{{- define "tideboard.checks.memory" -}}
{{- with .Values.kafka }}
{{- if .enabled }}
{{- include "tideboard.checks.taken" (dict
      "path" "kafka" "key" "kafka.heap" "said" .heap "limits" .resources
      "shape" "^[0-9]+[kmgt]?$" "example" "512m or 2g, as Java has it"
      "units" (dict "k" 1024.0 "m" 1048576.0 "g" 1073741824.0 "t" 1099511627776.0)) }}
{{- end }}
{{- end }}
{{- with .Values.redis }}
{{- if .enabled }}
{{- $own := hasKey .config "maxmemory" }}
{{- include "tideboard.checks.taken" (dict
      "path" "redis" "key" (ternary "redis.config.maxmemory" "redis.maxMemory" $own)
      "said" (include "tideboard.scalar" (ternary (get .config "maxmemory") .maxMemory $own)) "limits" .resources
      "shape" "^[0-9]+([kmg]?b|[kmg])?$" "example" "640mb or 2gb, as Valkey has it"
      "units" (dict "b" 1.0 "k" 1e3 "kb" 1024.0 "m" 1e6 "mb" 1048576.0 "g" 1e9 "gb" 1073741824.0)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A dict: path of the component, key and what it says, with its shape, an example and its units in lower case; and the container's resources. 0 is without end. */}}
{{- define "tideboard.checks.taken" -}}
{{- if not (regexMatch .shape (lower .said)) }}
{{- fail (printf "%s is %q, and is to be %s." .key .said .example) }}
{{- end }}
{{- $limit := get (get (.limits | default dict) "limits" | default dict) "memory" }}
{{- if $limit }}
{{- $taken := include "tideboard.measured" (list (lower .said) .units) | float64 }}
{{- if or (eq $taken 0.0) (ge $taken (include "tideboard.amount" $limit | float64)) }}
{{- fail (printf "%s is %s, and %s.resources.limits.memory is %v, so that it would be killed: raise the limit above it, with room for what else it needs, or lower %s." .key .said .path (include "tideboard.scalar" $limit) .key) }}
{{- end }}
{{- end }}
{{- end }}
