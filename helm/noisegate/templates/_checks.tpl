{{/* What values must be together. Each refusal names the value to change and the way out. */}}

{{- define "noisegate.checks" -}}
{{- $values := .Values -}}
{{- if and $values.persistence.existingClaim (not $values.persistence.enabled) -}}
{{- fail "persistence.existingClaim: has no effect without persistence.enabled: set that too" -}}
{{- end -}}
{{- if and $values.persistence.existingClaim (gt (int $values.replicas) 1) -}}
{{- fail "persistence.existingClaim: one process has the state file at a time: leave it empty, and each pod has a claim of its own, or set replicas to 1" -}}
{{- end -}}
{{- if and $values.tls.certManager.enabled (not $values.tls.certManager.issuer.name) -}}
{{- fail "tls.certManager.issuer.name: name the issuer of the certificate" -}}
{{- end -}}
{{- if and $values.admin.clientCa.secret (eq (toJson $values.admin.clientCa) (toJson $values.tls.clientCa)) -}}
{{- fail "admin.clientCa: must not be tls.clientCa: every caller would be an operator" -}}
{{- end -}}
{{- range $what := tuple "serviceMonitor" "rules" "dashboard" -}}
{{- if and (index $values.metrics $what).enabled (not $values.metrics.enabled) -}}
{{- fail (printf "metrics.%s.enabled: has no effect without metrics.enabled: set that too" $what) -}}
{{- end -}}
{{- end -}}
{{- if and $values.otlp.endpoint (not $values.otlp.traces) (not $values.otlp.metrics) -}}
{{- fail "otlp.endpoint: has no effect without otlp.traces or otlp.metrics: set one of them" -}}
{{- end -}}
{{- if $values.loopback -}}
{{- if not $values.extraContainers -}}
{{- fail "extraContainers: with loopback nobody but these can call: name the containers that use noisegate, or leave out loopback" -}}
{{- end -}}
{{- if $values.tls.certManager.enabled -}}
{{- fail "tls.certManager.enabled: has no effect with loopback, which has no TLS: leave out one of them" -}}
{{- end -}}
{{- if $values.admin.clientCa.secret -}}
{{- fail "admin.clientCa.secret: operators come over TLS, which loopback has not: leave out one of them" -}}
{{- end -}}
{{- if $values.test.callerSecret -}}
{{- fail "test.callerSecret: with loopback no other pod can call: leave out one of them" -}}
{{- end -}}
{{- end -}}
{{- end -}}
