{{/*
What the API server would refuse of values whose type is right: names, labels, quantities, hosts, images, networks. It would do so one object at a
time, after others were made, which leaves half a release. What contradicts something else is in _checks.tpl.
*/}}

{{- define "tideboard.shapes" -}}
{{- include "tideboard.shapes.names" . }}
{{- include "tideboard.shapes.labels" (list "commonLabels" .Values.commonLabels) }}
{{- include "tideboard.shapes.keys" (list "commonAnnotations" .Values.commonAnnotations) }}
{{- include "tideboard.shapes.image" (list "image" .Values.image) }}
{{- include "tideboard.shapes.registry" (list "global.imageRegistry" .Values.global.imageRegistry) }}
{{- range $component, $values := .Values }}
{{- if and (kindIs "map" $values) (hasKey $values "podLabels") }}
{{- include "tideboard.shapes.labels" (list (printf "%s.podLabels" $component) $values.podLabels) }}
{{- include "tideboard.shapes.keys" (list (printf "%s.podAnnotations" $component) $values.podAnnotations) }}
{{- include "tideboard.shapes.keys" (list (printf "%s.nodeSelector" $component) $values.nodeSelector) }}
{{- include "tideboard.shapes.image" (list (printf "%s.image" $component) $values.image) }}
{{- include "tideboard.shapes.resources" (list (printf "%s.resources" $component) $values.resources) }}
{{- with $values.persistence }}
{{- include "tideboard.quantity" (list (printf "%s.persistence.size" $component) .size) }}
{{- end }}
{{- end }}
{{- end }}
{{- include "tideboard.shapes.resources" (list "tests.resources" .Values.tests.resources) }}
{{- range .Values.gateway.ingress.hosts }}
{{- include "tideboard.shapes.host" (list "gateway.ingress.hosts" .host) }}
{{- end }}
{{- range .Values.gateway.httpRoute.hostnames }}
{{- include "tideboard.shapes.host" (list "gateway.httpRoute.hostnames" .) }}
{{- end }}
{{- include "tideboard.shapes.networks" (list "gateway.trustedProxies" .Values.gateway.trustedProxies) }}
{{- include "tideboard.shapes.networks" (list "networkPolicy.apiServerCIDRs" .Values.networkPolicy.apiServerCIDRs) }}
{{- range .Values.networkPolicy.apiServerCIDRs }}
{{- if not (contains "/" .) }}
{{- fail (printf "networkPolicy.apiServerCIDRs: %q is an address, and policies want networks: %s/%s." . . (ternary "128" "32" (contains ":" .))) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Names of Services have no dots, and begin with a letter; names of releases may be otherwise. */}}
{{- define "tideboard.shapes.names" -}}
{{- $name := include "tideboard.name" . }}
{{- if not (regexMatch "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$" $name) }}
{{- fail (printf "nameOverride is %q, and labels have letters, digits, hyphens, underscores and dots, a letter or digit at both ends." $name) }}
{{- end }}
{{- $full := include "tideboard.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
{{- fail (printf "Names would begin with %q, and they have lower-case letters, digits and hyphens, a letter first: set fullnameOverride to such a one." $full) }}
{{- end }}
{{- end }}

{{/* A list: where it stands, and the labels. */}}
{{- define "tideboard.shapes.labels" -}}
{{- $path := first . }}
{{- include "tideboard.shapes.keys" . }}
{{- range $name, $value := last . }}
{{- if not (regexMatch "^(([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?)$" $value) }}
{{- fail (printf "%s: %s is %q, and labels have up to 63 letters, digits, hyphens, underscores and dots; put it into annotations, which take any text." $path $name $value) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Names of labels and annotations. A list: where they stand, and all of them. */}}
{{- define "tideboard.shapes.keys" -}}
{{- $path := first . }}
{{- range $name := keys (last . | default dict) | sortAlpha }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$" $name) }}
{{- fail (printf "%s: %q is to be a name of up to 63 letters, digits, hyphens, underscores and dots, perhaps with a domain before it, such as team or example.com/team." $path $name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tideboard.shapes.image" -}}
{{- $path := first . }}
{{- $image := last . }}
{{- include "tideboard.shapes.registry" (list (printf "%s.registry" $path) $image.registry) }}
{{- if not (regexMatch "^([a-z0-9]+([._/-]+[a-z0-9]+)*)?$" $image.repository) }}
{{- fail (printf "%s.repository is %q, and is to be a name alone, in lower case, such as tideboard/tideboard: a tag goes into %s.tag, a digest into %s.digest." $path $image.repository $path $path) }}
{{- end }}
{{- if not (regexMatch "^([A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?$" $image.tag) }}
{{- fail (printf "%s.tag is %q, and is to be a tag alone, such as 1.2.3: a digest goes into %s.digest." $path $image.tag $path) }}
{{- end }}
{{- end }}

{{- define "tideboard.shapes.registry" -}}
{{- if not (regexMatch "^([A-Za-z0-9][-A-Za-z0-9_.]*(:[0-9]+)?(/[a-z0-9._/-]+)?)?$" (last .)) }}
{{- fail (printf "%s is %q, and is to be a host, with a port and a path where there are any, such as registry.example:5000/mirror, and without https://." (first .) (last .)) }}
{{- end }}
{{- end }}

{{/* Quantities, and no limit below its request: who lowers the one often forgets the other, which the chart gives. */}}
{{- define "tideboard.shapes.resources" -}}
{{- $path := first . }}
{{- $resources := last . | default dict }}
{{- range $kind := list "requests" "limits" }}
{{- range $name, $value := get $resources $kind | default dict }}
{{- include "tideboard.quantity" (list (printf "%s.%s.%s" $path $kind $name) $value) }}
{{- end }}
{{- end }}
{{- range $name, $limit := $resources.limits | default dict }}
{{- $request := get ($resources.requests | default dict) $name }}
{{- if and $request $limit }}
{{- if gt (include "tideboard.amount" $request | float64) (include "tideboard.amount" $limit | float64) }}
{{- fail (printf "%s.limits.%s is %v, less than the %v of %s.requests.%s: raise the limit, or lower the request as well." $path $name $limit $request $path $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A list: where it stands, and what should be a quantity; null takes a default away. */}}
{{- define "tideboard.quantity" -}}
{{- if not (kindIs "invalid" (last .)) }}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]*)?([eE][-+]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$" (include "tideboard.scalar" (last .))) }}
{{- fail (printf "%s is %q, and is to be a quantity, such as 500m of CPU or 512Mi of memory." (first .) (toString (last .))) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A quantity as a number. */}}
{{- define "tideboard.amount" -}}
{{- include "tideboard.measured" (list (include "tideboard.scalar" .) (dict
  "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18
  "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0)) }}
{{- end }}

{{/* A number with a unit behind it, as a number of what has none. A list: the text, and what each unit is. */}}
{{- define "tideboard.measured" -}}
{{- $number := regexFind "^[0-9.]+([eE][-+]?[0-9]+)?" (first .) }}
{{- mulf (float64 $number) (get (merge (dict "" 1.0) (last .)) (trimPrefix $number (first .))) }}
{{- end }}

{{- define "tideboard.shapes.host" -}}
{{- if not (regexMatch "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" (toString (last .))) }}
{{- fail (printf "%s: %q is to be a host alone, such as wall.example, in lower case and without https://, port or path." (first .) (toString (last .))) }}
{{- end }}
{{- end }}

{{/* A list: where they stand, and networks. */}}
{{- define "tideboard.shapes.networks" -}}
{{- $path := first . }}
{{- range last . }}
{{- if not (regexMatch "^([0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{1,2})?|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(/[0-9]{1,3})?)$" .) }}
{{- fail (printf "%s: %q is to be a network, such as 10.0.0.0/8 or fd00::/8." $path .) }}
{{- end }}
{{- end }}
{{- end }}
