{{/* What so many sessions may take, by the figures of capacity.yaml, against what a pod is given. */}}

{{- define "noisegate.capacity" -}}
{{- $values := .Values -}}
{{- $figures := .Files.Get "capacity.yaml" | fromYaml -}}
{{- $sessions := $values.config.max_sessions | default $figures.max_sessions | int64 -}}
{{- $memory := dig "limits" "memory" "" $values.resources -}}
{{- $bytes := include "noisegate.bytes" $memory -}}
{{- $needed := add (int64 $figures.process) (int64 $figures.kept) (mul $sessions (int64 $figures.session)) -}}
{{- if and $bytes (lt (int64 $bytes) $needed) -}}
{{- fail (printf "resources.limits.memory: %v is too little for config.max_sessions of %d, which may take %dMi: raise it, or lower config.max_sessions" $memory $sessions (include "noisegate.mebibytes" $needed | int)) -}}
{{- end -}}
{{- if $values.persistence.enabled -}}
{{- $needed = mul $sessions (int64 $figures.suspended) -}}
{{- if and (not $values.persistence.existingClaim) (lt (include "noisegate.bytes" $values.persistence.size | int64) $needed) -}}
{{- fail (printf "persistence.size: %s is too little for config.max_sessions of %d, which may take %dMi: raise it, or lower config.max_sessions" $values.persistence.size $sessions (include "noisegate.mebibytes" $needed | int)) -}}
{{- end -}}
{{- $seconds := divf $sessions $figures.suspended_a_second | ceil | int -}}
{{- if lt (float64 $values.shutdown.suspend) (float64 $seconds) -}}
{{- fail (printf "shutdown.suspend: %s s are too short for config.max_sessions of %d, which may take %d: raise it, or lower config.max_sessions" (include "noisegate.text" $values.shutdown.suspend) $sessions $seconds) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A quantity in bytes; nothing for what is none, or is written in a way that nobody uses for memory. */}}
{{- define "noisegate.bytes" -}}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- if kindIs "float64" . -}}
{{- int64 . -}}
{{- else if regexMatch "^[0-9]+(\\.[0-9]+)?(k|[MGT]|[KMGT]i)?$" (toString .) -}}
{{- $unit := regexFind "[kKMGTi]*$" (toString .) -}}
{{- mulf (trimSuffix $unit (toString .) | float64) (get $units $unit) | int64 -}}
{{- end -}}
{{- end -}}

{{/* Bytes in MiB, rounded up. */}}
{{- define "noisegate.mebibytes" -}}
{{- div (add (int64 .) 1048575) 1048576 -}}
{{- end -}}
