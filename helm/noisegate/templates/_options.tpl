{{/* The options of `noisegate serve`, as environment variables. */}}

{{- define "noisegate.options" -}}
{{ include "noisegate.ownOptions" . }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Those that the chart itself sets. */}}
{{- define "noisegate.ownOptions" -}}
{{- $values := .Values -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: NOISEGATE_LISTEN
  value: "{{ ternary "127.0.0.1" (include "noisegate.everywhere" $) $values.loopback }}:7443"
- name: NOISEGATE_HEALTH_LISTEN
  value: "{{ include "noisegate.everywhere" $ }}:7445"
{{- if $values.metrics.enabled }}
- name: NOISEGATE_METRICS_LISTEN
  value: "{{ include "noisegate.everywhere" $ }}:7446"
{{- end }}
- name: NOISEGATE_IDENTITY
  value: {{ include "noisegate.identities" . | quote }}
- name: NOISEGATE_TICKET_KEY
  value: /etc/noisegate/keys/ticket.key
- name: NOISEGATE_BLOB_KEY
  value: /etc/noisegate/keys/blob.key
{{- if $values.persistence.enabled }}
- name: NOISEGATE_STATE_FILE
  value: /var/lib/noisegate/noisegate.state
{{- end }}
{{- if not $values.loopback }}
- name: NOISEGATE_ADVERTISE
  value: "$(POD_NAME).{{ include "noisegate.headless" . }}.{{ .Release.Namespace }}.svc.{{ $values.clusterDomain }}:7443"
- name: NOISEGATE_TLS_CERTIFICATE
  value: /etc/noisegate/tls/tls.crt
- name: NOISEGATE_TLS_KEY
  value: /etc/noisegate/tls/tls.key
- name: NOISEGATE_TLS_CLIENT_CA
  value: /etc/noisegate/callers/ca.crt
{{- end }}
{{- if $values.policy }}
- name: NOISEGATE_POLICY
  value: /etc/noisegate/policy/policy.toml
{{- end }}
{{- if $values.admin.clientCa.secret }}
- name: NOISEGATE_ADMIN_LISTEN
  value: "{{ include "noisegate.everywhere" $ }}:7444"
- name: NOISEGATE_ADMIN_CLIENT_CA
  value: /etc/noisegate/operators/ca.crt
{{- end }}
- name: NOISEGATE_DRAIN
  value: {{ include "noisegate.text" $values.shutdown.drain | quote }}
- name: NOISEGATE_GRACE
  value: {{ include "noisegate.text" $values.shutdown.grace | quote }}
{{- if $values.persistence.enabled }}
- name: NOISEGATE_SUSPEND_GRACE
  value: {{ include "noisegate.text" $values.shutdown.suspend | quote }}
{{- end }}
{{- range $name, $value := $values.config }}
- name: NOISEGATE_{{ upper $name }}
  value: {{ include "noisegate.text" $value | quote }}
{{- end }}
{{- with $values.otlp }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol | quote }}
- name: OTEL_TRACES_EXPORTER
  value: {{ ternary "otlp" "none" .traces }}
{{- if and .traces .ratio }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ include "noisegate.text" .ratio | quote }}
{{- end }}
- name: OTEL_METRICS_EXPORTER
  value: {{ ternary "otlp" "none" .metrics }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: "k8s.namespace.name={{ $.Release.Namespace }},k8s.pod.name=$(POD_NAME)"
{{- end }}
{{- end }}
{{- end -}}

{{/* The host of a listener that the whole cluster reaches. */}}
{{- define "noisegate.everywhere" -}}
{{- ternary "[::]" "0.0.0.0" .Values.ipv6 -}}
{{- end -}}

{{/* FILE for all tenants, TENANT=FILE for those with a key of their own. */}}
{{- define "noisegate.identities" -}}
/etc/noisegate/keys/identity.key
{{- range $tenant, $entry := .Values.keys.tenants }} {{ $tenant }}=/etc/noisegate/keys/tenants/{{ $tenant }}.key{{ end }}
{{- end -}}

{{/* A value as an option takes it. Helm has every number as a float, and would write a million as 1e+06. */}}
{{- define "noisegate.text" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq (float64 (int64 .)) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
