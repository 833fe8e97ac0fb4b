{{/* The container of noisegate: beside others it is a sidecar of Kubernetes, which starts first and stops last. */}}

{{- define "noisegate.container" -}}
- name: noisegate
  image: {{ include "noisegate.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
  {{- if .Values.loopback }}
  restartPolicy: Always
  {{- end }}
  args: [serve]
  env:
    {{- include "noisegate.options" . | nindent 4 }}
  ports:
    {{- if not .Values.loopback }}
    - name: grpc
      containerPort: 7443
    {{- end }}
    {{- if .Values.admin.clientCa.secret }}
    - name: admin
      containerPort: 7444
    {{- end }}
    - name: health
      containerPort: 7445
    {{- if .Values.metrics.enabled }}
    - name: metrics
      containerPort: 7446
    {{- end }}
  # A state file of many sessions is read before the first answer.
  startupProbe:
    grpc:
      port: 7445
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 150
  readinessProbe:
    grpc:
      port: 7445
      service: noisegate.v1.SessionCryptoService
    periodSeconds: 5
    timeoutSeconds: 2
    failureThreshold: 2
  livenessProbe:
    grpc:
      port: 7445
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  {{- if and .Values.shutdown.preStop (not .Values.loopback) }}
  lifecycle:
    preStop:
      sleep:
        seconds: {{ int .Values.shutdown.preStop }}
  {{- end }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    {{- include "noisegate.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: keys
      mountPath: /etc/noisegate/keys
      readOnly: true
    {{- if not .Values.loopback }}
    - name: tls
      mountPath: /etc/noisegate/tls
      readOnly: true
    - name: callers
      mountPath: /etc/noisegate/callers
      readOnly: true
    {{- end }}
    {{- if .Values.admin.clientCa.secret }}
    - name: operators
      mountPath: /etc/noisegate/operators
      readOnly: true
    {{- end }}
    {{- if .Values.policy }}
    - name: policy
      mountPath: /etc/noisegate/policy
      readOnly: true
    {{- end }}
    {{- if .Values.persistence.enabled }}
    - name: state
      mountPath: /var/lib/noisegate
    {{- end }}
{{- end -}}

{{/* What Kubernetes' restricted profile demands of a container, and a root file system that nobody writes to. */}}
{{- define "noisegate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Likewise of a pod. */}}
{{- define "noisegate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}
