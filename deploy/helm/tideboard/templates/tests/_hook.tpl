{{/* Whether there is a test: where everybody is there through whom its sample goes, and who writes the dashboard that it looks at. */}}
{{- define "tideboard.tests.wanted" -}}
{{- with .Values }}
{{- if and .tests.enabled .ingestor.enabled .aggregator.enabled .gateway.enabled .operator.enabled }}yes{{ end }}
{{- end }}
{{- end }}

{{/* What Helm does with the test's objects: gone when it has passed, so that an uninstall leaves nothing, and there to be looked at when it has failed. */}}
{{- define "tideboard.tests.hook" -}}
helm.sh/hook: test
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Makes the token that the test looks with, of the one dashboard and for as long as it may take: the test itself never sees the secret. */}}
{{- define "tideboard.tests.token" -}}
- name: token
  image: {{ include "tideboard.image" (list . "gateway") }}
  imagePullPolicy: {{ include "tideboard.pullPolicy" (list . "gateway") }}
  securityContext:
    {{- include "tideboard.merged" (list .Values.containerSecurityContext (dict)) | nindent 4 }}
  args: [token]
  env:
    - {name: TIDEBOARD_TOKEN_FILE, value: /run/tideboard/token}
    - {name: TIDEBOARD_TOKEN_SUBJECT, value: check}
    - {name: TIDEBOARD_TOKEN_DASHBOARDS, value: check}
    - {name: TIDEBOARD_TOKEN_HOURS, value: {{ divf (addf .Values.tests.timeoutSeconds 60) 3600 | toString | quote }}}
    - {name: TIDEBOARD_GATEWAY_SECRET_FILE, value: /etc/tideboard/tokens/secret}
    - {name: TIDEBOARD_GATEWAY_DASHBOARDS_CLAIM, value: {{ .Values.gateway.auth.dashboardsClaim | quote }}}
    - {name: TIDEBOARD_GATEWAY_AUDIENCES, value: {{ join "," .Values.gateway.auth.audiences | quote }}}
    - {name: TIDEBOARD_GATEWAY_ISSUERS, value: {{ join "," .Values.gateway.auth.issuers | quote }}}
  resources:
    {{- toYaml .Values.tests.resources | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: token, mountPath: /run/tideboard}
    - {name: secrets-tokens, mountPath: /etc/tideboard/tokens, readOnly: true}
{{- end }}
