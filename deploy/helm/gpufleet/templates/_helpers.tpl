{{- define "gpufleet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* Short enough for what is put behind it: a StatefulSet's pods carry their name and a hash in a label of 63. */ -}}
{{- define "gpufleet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "gpufleet.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "gpufleet.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Selector labels of one component: call with (dict "root" . "component" "agent"). */ -}}
{{- define "gpufleet.selector" -}}
app.kubernetes.io/name: {{ include "gpufleet.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* All labels of one component's object; call with "extra" for labels of its own, which stand over the others. */ -}}
{{- define "gpufleet.labels" -}}
{{- $ours := include "gpufleet.selector" . | fromYaml -}}
{{- $_ := set $ours "app.kubernetes.io/part-of" "gpufleet" -}}
{{- $_ := set $ours "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- toYaml (merge (dict) (include "gpufleet.selector" . | fromYaml) (default (dict) .extra) .root.Values.commonLabels $ours) -}}
{{- end -}}

{{- /* Name, namespace and labels: call with "root", "component" and "name" (what follows the release's name). */ -}}
{{- define "gpufleet.metadata" -}}
name: {{ include "gpufleet.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "gpufleet.labels" . | nindent 2 }}
{{- with .annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The image of one component: call with (dict "root" . "component" "agent"). */ -}}
{{- define "gpufleet.image" -}}
{{- $one := index .root.Values.image .component -}}
{{- $name := $one.repository -}}
{{- with .root.Values.image.registry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end -}}
{{- if $one.digest -}}
{{- printf "%s@%s" $name $one.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion $one.tag) -}}
{{- end -}}
{{- end -}}

{{- define "gpufleet.serviceAccount" -}}
{{- $values := index .root.Values .component -}}
{{- if $values.serviceAccount.create -}}
{{- default (printf "%s-%s" (include "gpufleet.fullname" .root) .component) $values.serviceAccount.name -}}
{{- else -}}
{{- default "default" $values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* How the kubelet asks a server: call with "port", "path" and "web" (its TLS). */ -}}
{{- define "gpufleet.asked" -}}
{{- if and .web.secret .web.clientCertificates -}}
{{- /* One that asks for client certificates answers no kubelet: its port is all that can be looked at. */ -}}
tcpSocket: {port: {{ .port }}}
{{- else -}}
httpGet: {port: {{ .port }}, path: {{ .path }}, scheme: {{ ternary "HTTPS" "HTTP" (and (ne .web.secret "") .web.tls) }}}
{{- end -}}
{{- end -}}

{{- /* A probe under the values given: call with "ours" and "theirs". Another way of asking takes the place of ours. */ -}}
{{- define "gpufleet.probe" -}}
{{- $ours := .ours -}}
{{- if or .theirs.httpGet .theirs.tcpSocket .theirs.exec .theirs.grpc }}{{ $ours = omit $ours "httpGet" "tcpSocket" }}{{ end -}}
{{- toYaml (mergeOverwrite $ours .theirs) -}}
{{- end -}}

{{- /* The common keys of a PodMonitor's and a ServiceMonitor's endpoint: call with "monitor", "web" and "relabelings". */ -}}
{{- define "gpufleet.endpoint" -}}
interval: {{ .monitor.interval }}
scrapeTimeout: {{ .monitor.scrapeTimeout }}
honorLabels: {{ .monitor.honorLabels }}
scheme: {{ ternary "https" "http" (and (ne .web.secret "") .web.tls) }}
{{- with .monitor.tlsConfig }}
tlsConfig: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.basicAuth }}
basicAuth: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat .relabelings .monitor.relabelings }}
relabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Where people find the page. */ -}}
{{- define "gpufleet.page" -}}
{{- if .Values.links.page -}}
{{- trimSuffix "/" .Values.links.page -}}
{{- else -}}
{{- printf "%s://%s-slo.%s.svc:%v" (ternary "https" "http" (and (ne .Values.slo.web.secret "") .Values.slo.web.tls)) (include "gpufleet.fullname" .) .Release.Namespace .Values.slo.port -}}
{{- end -}}
{{- end -}}

{{- /* Generated text, made for the release gpufleet in a namespace of that name, with this release's addresses: call with "root" and "text". */ -}}
{{- define "gpufleet.linked" -}}
{{- $made := "http://gpufleet-slo.gpufleet.svc:9490" -}}
{{- $page := include "gpufleet.page" .root -}}
{{- $runbooks := default (printf "%s/runbooks" $page) .root.Values.links.runbooks -}}
{{- $text := .text | replace (printf "%s/runbooks" $made) (trimSuffix "/" $runbooks) | replace $made $page -}}
{{- with .root.Values.links.board -}}
{{- /* The other boards lie beside the SLO board: its uid is exchanged. */ -}}
{{- $text = regexReplaceAll "http://127\\.0\\.0\\.1:3000/d/gpufleet-([a-z]+)" $text (replace "gpufleet-slo" "gpufleet-${1}" .) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{- /* Non-empty where the SLO files are not the chart's own. */ -}}
{{- define "gpufleet.ownSlos" -}}
{{- if or .Values.slos.files .Values.slos.existingConfigMap }}yes{{ end -}}
{{- end -}}

{{- /* Security context of a pod that needs nothing, under the values given. */ -}}
{{- define "gpufleet.ordinaryUser" -}}
{{- $ours := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "fsGroupChangePolicy" "OnRootMismatch" -}}
{{- $_ := set $ours "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $ours .) -}}
{{- end -}}

{{- /* Of its container. */ -}}
{{- define "gpufleet.confined" -}}
{{- toYaml (mergeOverwrite (dict "readOnlyRootFilesystem" true "allowPrivilegeEscalation" false "privileged" false "capabilities" (dict "drop" (list "ALL"))) .) -}}
{{- end -}}
