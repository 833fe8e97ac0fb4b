{{/* Values that have no effect beside others: refused where they are not the default, so that nobody relies on them. */}}

{{- define "noisegate.effects" -}}
{{- $values := .Values -}}
{{- $defaults := .Files.Get "defaults.yaml" | fromYaml -}}
{{- /* Where it holds, why, and what has no effect then. */ -}}
{{- $rows := list
  (list $values.loopback
    "with loopback, where only the pod's own containers call, without TLS: leave out one of them"
    (list "tls" "admin" "service" "networkPolicy.callers" "shutdown.preStop" "test"))
  (list (not $values.loopback)
    "without loopback: set that too"
    (list "shutdown.game"))
  (list (not $values.admin.clientCa.secret)
    "without admin.clientCa.secret: set that too"
    (list "admin" "networkPolicy.operators"))
  (list (not $values.tls.certManager.enabled)
    "without tls.certManager.enabled: set that too"
    (list "tls.certManager"))
  (list (not $values.persistence.enabled)
    "without persistence.enabled: set that too"
    (list "persistence.size" "persistence.storageClass" "persistence.accessMode" "persistence.existingClaim"
      "persistence.whenDeleted" "persistence.whenScaled" "shutdown.suspend"))
  (list $values.persistence.existingClaim
    "with persistence.existingClaim, which is as it is: leave out one of them"
    (list "persistence.size" "persistence.storageClass" "persistence.accessMode" "persistence.whenDeleted"
      "persistence.whenScaled"))
  (list (not $values.serviceAccount.create)
    "without serviceAccount.create: annotate the account that is there"
    (list "serviceAccount.annotations"))
  (list (not $values.networkPolicy.enabled)
    "without networkPolicy.enabled: set that too"
    (list "networkPolicy.callers" "networkPolicy.operators" "networkPolicy.scrapers" "networkPolicy.egress"))
  (list (not $values.podDisruptionBudget.enabled)
    "without podDisruptionBudget.enabled: set that too"
    (list "podDisruptionBudget.maxUnavailable"))
  (list (not $values.metrics.enabled)
    "without metrics.enabled: set that too"
    (list "metrics.serviceMonitor" "metrics.rules" "metrics.dashboard" "networkPolicy.scrapers"))
  (list (not $values.metrics.serviceMonitor.enabled)
    "without metrics.serviceMonitor.enabled: set that too"
    (list "metrics.serviceMonitor"))
  (list (not $values.metrics.rules.enabled)
    "without metrics.rules.enabled: set that too"
    (list "metrics.rules"))
  (list (not $values.metrics.dashboard.enabled)
    "without metrics.dashboard.enabled: set that too"
    (list "metrics.dashboard"))
  (list (not $values.otlp.endpoint)
    "without otlp.endpoint: set that too"
    (list "otlp"))
  (list (not $values.otlp.traces)
    "without otlp.traces: set that too"
    (list "otlp.ratio"))
-}}
{{- range $row := $rows -}}
{{- if index $row 0 -}}
{{- range $section := index $row 2 -}}
{{- $given := $values -}}
{{- $default := $defaults -}}
{{- range $key := splitList "." $section -}}
{{- $given = get $given $key -}}
{{- $default = get $default $key -}}
{{- end -}}
{{- $changed := include "noisegate.changed" (dict "name" $section "given" $given "default" $default) -}}
{{- if $changed -}}
{{- fail (printf "%s: has no effect %s" $changed (index $row 1)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of the first value in it that is not the default; nothing where all are. */}}
{{- define "noisegate.changed" -}}
{{- if and .default (kindIs "map" .default) (kindIs "map" .given) -}}
{{- $found := "" -}}
{{- range $key := concat (keys .default) (keys .given) | uniq | sortAlpha -}}
{{- if not $found -}}
{{- $found = include "noisegate.changed" (dict "name" (printf "%s.%s" $.name $key) "given" (get $.given $key) "default" (get $.default $key)) -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- else if ne (toJson .given) (toJson .default) -}}
{{- .name -}}
{{- end -}}
{{- end -}}
