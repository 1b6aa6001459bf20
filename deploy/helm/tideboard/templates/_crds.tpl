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

{{/*
Whose a definition is, where it is there and not ours: "release in namespace", or "somebody else's". A cluster has each definition once, and Helm
would refuse to install a second release beside the first. A list: root, name. Without a cluster (helm template) nothing is there.
*/}}
{{- define "tideboard.crd.owner" -}}
{{- $root := first . }}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" (printf "%s.tideboard.dev" (last .)) }}
{{- if $there }}
{{- $annotations := $there.metadata.annotations | default dict }}
{{- $release := get $annotations "meta.helm.sh/release-name" }}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" }}
{{- if not (and (eq $release $root.Release.Name) (eq $namespace $root.Release.Namespace)) }}
{{- ne $release "" | ternary (printf "the release %s in %s" $release $namespace) "somebody else" }}
{{- end }}
{{- end }}
{{- end }}
