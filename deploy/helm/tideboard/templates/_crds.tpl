{{/* A custom resource definition from files/crds, which is the same file that kubectl takes, with our labels. A list: root, name. */}}
{{- define "tideboard.crd" -}}
{{- $root := first . }}
{{- $crd := $root.Files.Get (printf "files/crds/%s.yaml" (last .)) | fromYaml }}
{{- $labels := omit (include "tideboard.labels" (list $root "crds") | fromYaml) "app.kubernetes.io/component" }}
{{- $annotations := merge (dict) $root.Values.commonAnnotations }}
{{- if $root.Values.crds.keep }}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" }}
{{- end }}
{{- $metadata := $crd.metadata }}
{{- $_ := set $metadata "labels" (merge (dict) (default (dict) $metadata.labels) $labels) }}
{{- $_ := set $metadata "annotations" (merge (dict) (default (dict) $metadata.annotations) $annotations) }}
{{- toYaml $crd }}
{{- end }}
