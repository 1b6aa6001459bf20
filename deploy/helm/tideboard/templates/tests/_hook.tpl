{{/* What Helm does with the test's objects: gone when it has passed, so that an uninstall leaves nothing, and there to be looked at when it has failed. */}}
{{- define "tideboard.tests.hook" -}}
helm.sh/hook: test
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
