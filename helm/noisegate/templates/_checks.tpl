{{/* What values must be together. Each refusal names the value to change and the way out. */}}

{{- define "noisegate.checks" -}}
{{- $values := .Values -}}
{{- if and $values.persistence.existingClaim (gt (int $values.replicas) 1) -}}
{{- fail "persistence.existingClaim: one process has the state file at a time: leave it empty, and each pod has a claim of its own, or set replicas to 1" -}}
{{- end -}}
{{- if and $values.tls.certManager.enabled (not $values.tls.certManager.issuer.name) -}}
{{- fail "tls.certManager.issuer.name: name the issuer of the certificate" -}}
{{- end -}}
{{- if and $values.admin.clientCa.secret (eq (toJson $values.admin.clientCa) (toJson $values.tls.clientCa)) -}}
{{- fail "admin.clientCa: must not be tls.clientCa: every caller would be an operator" -}}
{{- end -}}
{{- if and $values.otlp.endpoint (not $values.otlp.traces) (not $values.otlp.metrics) -}}
{{- fail "otlp.endpoint: has no effect without otlp.traces or otlp.metrics: set one of them" -}}
{{- end -}}
{{- if and $values.loopback (not $values.extraContainers) -}}
{{- fail "extraContainers: with loopback nobody but these can call: name the containers that use noisegate, or leave out loopback" -}}
{{- end -}}
{{- range $own := include "noisegate.ownOptions" . | fromYamlArray -}}
{{- range $values.extraEnv -}}
{{- if eq .name $own.name -}}
{{- fail (printf "extraEnv: %s is set already: give the chart's value for it, or config" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := include "noisegate.labels" (dict "Values" (omit $values "labels") "Chart" .Chart "Release" .Release) | fromYaml -}}
{{- if hasKey $values.labels $name -}}
{{- fail (printf "labels: %s is set already: leave it out" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := include "noisegate.selector" . | fromYaml -}}
{{- if hasKey $values.podLabels $name -}}
{{- fail (printf "podLabels: %s selects the pods: leave it out" $name) -}}
{{- end -}}
{{- end -}}
{{- include "noisegate.effects" . -}}
{{- include "noisegate.capacity" . -}}
{{- end -}}
