{{- /* Non-empty where the agent asks the Kubernetes API for the pods of its node. */ -}}
{{- define "gpufleet.agent.asksApi" -}}
{{- $pods := .Values.agent.podResources -}}
{{- if or .Values.agent.discovery.enabled (and $pods.enabled (or $pods.labels $pods.processes $pods.slices)) -}}
yes
{{- end -}}
{{- end -}}

{{- /* Non-empty where it takes uid 0. */ -}}
{{- define "gpufleet.agent.root" -}}
{{- /* The kubelet's folder is root's (0750): uid 0 with every capability dropped can read it, no less can. */ -}}
{{- if .Values.agent.podResources.enabled }}yes{{ end -}}
{{- /* An ordinary user has no use of a capability that is added, nor of `privileged`. */ -}}
{{- if or .Values.agent.kernelLog.enabled .Values.agent.migMonitor.enabled }}yes{{ end -}}
{{- end -}}

{{- define "gpufleet.agent.podSecurityContext" -}}
{{- $ours := dict "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if include "gpufleet.agent.root" . -}}
{{- $ours = merge $ours (dict "runAsNonRoot" false "runAsUser" 0 "runAsGroup" 0) -}}
{{- else -}}
{{- $ours = merge $ours (dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $ours .Values.agent.podSecurityContext) -}}
{{- end -}}

{{- define "gpufleet.agent.securityContext" -}}
{{- $ours := dict "readOnlyRootFilesystem" true "allowPrivilegeEscalation" false "privileged" false "capabilities" (dict "drop" (list "ALL")) -}}
{{- if .Values.agent.kernelLog.enabled -}}
{{- /* The device cgroup of a container lets nobody at /dev/kmsg who is not privileged; that has all capabilities. */ -}}
{{- $ours = dict "readOnlyRootFilesystem" true "privileged" true -}}
{{- else if .Values.agent.migMonitor.enabled -}}
{{- /* NVIDIA's runtime hands out the monitoring capability of MIG to administrators alone; with SYS_ADMIN, Kubernetes takes escalation for allowed. */ -}}
{{- $_ := set $ours "capabilities" (dict "drop" (list "ALL") "add" (list "SYS_ADMIN")) -}}
{{- $_ := set $ours "allowPrivilegeEscalation" true -}}
{{- end -}}
{{- toYaml (mergeOverwrite $ours .Values.agent.securityContext) -}}
{{- end -}}

{{- /* Settings of the agent, which it follows while it runs: what the chart decides, over agent.config. What goes with a pod's
       own mounts, ports and privileges is in its arguments and variables instead: it changes with the pod. */ -}}
{{- define "gpufleet.agent.settings" -}}
{{- $agent := .Values.agent -}}
{{- $config := deepCopy $agent.config -}}
{{- $pods := $agent.podResources -}}
{{- if not $pods.enabled -}}
{{- if or $pods.labels $pods.processes $pods.slices }}{{ fail "agent.podResources: labels, processes and slices need it enabled" }}{{ end -}}
{{- $_ := set $config "pods" "none" -}}
{{- else if or $pods.labels $pods.processes $pods.slices -}}
{{- if and $pods.processes (not $agent.hostPID) }}{{ fail "agent.podResources.processes needs the host's process ids: set agent.hostPID" }}{{ end -}}
{{- $_ := set $config "pods" (dict "labels" $pods.labels "processes" $pods.processes "slices" $pods.slices) -}}
{{- end -}}
{{- $found := dict -}}
{{- if $agent.discovery.enabled }}{{ $_ := set $found "kubernetes" $agent.discovery.kubernetes }}{{ end -}}
{{- if not (kindIs "invalid" $agent.discovery.probe) -}}
{{- if not $agent.discovery.enabled }}{{ fail "agent.discovery.probe probes what discovery finds: set agent.discovery.enabled" }}{{ end -}}
{{- $_ := set $found "probe" $agent.discovery.probe -}}
{{- end -}}
{{- with $found }}{{ $_ := set $config "discovery" . }}{{ end -}}
{{- toYaml $config -}}
{{- end -}}
