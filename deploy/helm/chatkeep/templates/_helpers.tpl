{{- define "chatkeep.name" -}}
{{- $name := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- $name | trunc 48 | trimSuffix "-" }}
{{- end }}

{{- define "chatkeep.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "chatkeep.labels" -}}
{{ include "chatkeep.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "chatkeep.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "chatkeep.databaseSecret" -}}
{{- if .Values.database.existingSecret }}{{ .Values.database.existingSecret }}
{{- else if .Values.database.url }}{{ include "chatkeep.name" . }}-database
{{- else }}{{ fail "Say where PostgreSQL is: database.url, or database.existingSecret." }}
{{- end }}
{{- end }}

{{- define "chatkeep.secretsSecret" -}}
{{- if .Values.secrets.existingSecret }}{{ .Values.secrets.existingSecret }}
{{- else if and .Values.secrets.pepper .Values.secrets.sessionKey .Values.secrets.signingPem }}{{ include "chatkeep.name" . }}-secrets
{{- else }}{{ fail "All nodes need the same secrets: secrets.existingSecret, or secrets.pepper, .sessionKey and .signingPem." }}
{{- end }}
{{- end }}

{{- define "chatkeep.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "chatkeep.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "chatkeep.env" -}}
- name: CHATKEEP_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "chatkeep.databaseSecret" . }}
      key: {{ if .Values.database.existingSecret }}{{ .Values.database.existingSecretKey }}{{ else }}url{{ end }}
- name: CHATKEEP_SECRETS
  value: /secrets
- name: CHATKEEP_DRAIN_S
  value: {{ .Values.drainSeconds | int | quote }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  {{- /* a whole number comes as a float, and a large one would be written with an exponent */}}
  {{- if and (kindIs "float64" $value) (eq $value (floor $value)) }}
  value: {{ $value | int64 | toString | quote }}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Kubernetes lets a pod's group read what it mounts from a Secret; chatkeep refuses secrets that anybody else may read. */}}
{{- define "chatkeep.copySecrets" -}}
- name: secrets
  image: {{ include "chatkeep.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: ["install", "-m", "0600", "/mounted/pepper", "/mounted/session.key", "/mounted/signing.pem", "/secrets/"]
  securityContext: {{- include "chatkeep.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: mounted-secrets, mountPath: /mounted, readOnly: true}
    - {name: secrets, mountPath: /secrets}
{{- end }}

{{- define "chatkeep.volumeMounts" -}}
- {name: secrets, mountPath: /secrets}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "chatkeep.volumes" -}}
- name: mounted-secrets
  secret:
    secretName: {{ include "chatkeep.secretsSecret" . }}
    defaultMode: 0440
- name: secrets
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: data
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- end }}
