{{- define "rover.labels" -}}
app.kubernetes.io/name: rover
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "rover.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default .Values.name }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "rover.priorityClass" -}}
{{ .Values.priorityClass.name | default .Values.clusterWideName }}
{{- end }}

{{- /* Where Secrets are mounted. */ -}}
{{- define "rover.secrets" -}}/var/run/secrets/rover{{- end }}
