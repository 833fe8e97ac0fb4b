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
{{- include "noisegate.effects" . -}}
{{- include "noisegate.capacity" . -}}
{{- end -}}
