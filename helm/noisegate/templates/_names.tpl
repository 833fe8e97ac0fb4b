{{/* Names and labels. */}}

{{- define "noisegate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "noisegate.headless" -}}
{{ include "noisegate.fullname" . }}-pods
{{- end -}}

{{- define "noisegate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "noisegate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "noisegate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* What selects the pods, now and in every later version: Kubernetes lets nobody change it. */}}
{{- define "noisegate.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "noisegate.labels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "noisegate.testSelector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end -}}

{{/* What `helm test` runs. */}}
{{- define "noisegate.testCommand" -}}
{{- if .Values.test.callerSecret -}}
- sessions
- --target={{ include "noisegate.fullname" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:{{ int .Values.service.port }}
- --tls-ca=/etc/noisegate/caller/ca.crt
- --tls-certificate=/etc/noisegate/caller/tls.crt
- --tls-key=/etc/noisegate/caller/tls.key
{{- else -}}
- health
- --target={{ include "noisegate.headless" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:7445
{{- end -}}
{{- end -}}
