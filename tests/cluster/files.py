"""The configuration files of a node's daemons. Pure; the command lines that name them are commands.py.

Many lines undo a habit that a machine of tests cannot bear: no swap rules, no eviction by disk use, no score below zero, which
the kernel grants only to those who may have it.
"""

import json
from typing import Final

from tests.cluster import plan as plans
from tests.cluster.plan import Node, Plan

PAUSE: Final = "localhost/pause:1"
CONTAINERD_SOCKET: Final = "/run/containerd/containerd.sock"


def of_node(plan: Plan, node: Node, plugins: str) -> dict[str, str]:
    """Every file by its path below the node's folder. plugins: where the CNI plugins are."""
    return {
        "containerd.toml": containerd(plugins),
        "cni/10-pods.conflist": json.dumps(network(node), indent=1),
        "kubelet.json": json.dumps(kubelet(plan, node), indent=1),
        "proxy.json": json.dumps(proxy(plan, node), indent=1),
        "hosts": hosts(plan),
        "resolv.conf": f"nameserver {plans.DNS_SERVICE}\noptions timeout:2 attempts:3\n",
        "pods-resolv.conf": "",  # what a pod with dnsPolicy Default has: nothing, there is nobody to ask
    }


def containerd(plugins: str) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "{CONTAINERD_SOCKET}"
[{cri}]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
disable_apparmor = true
stream_server_address = "127.0.0.1"
[{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
[{cri}.cni]
bin_dir = "{plugins}"
conf_dir = "/etc/cni/net.d"
"""


def network(node: Node) -> dict[str, object]:
    """Pods on a bridge. No masquerade: a pod must be seen by its own address on another node, or policies block it."""
    ranges = [[{"subnet": node.pods, "gateway": node.gateway}]]
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni-addresses"},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}


def kubelet(plan: Plan, node: Node) -> dict[str, object]:
    at = plan.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{at}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{at}/{node.name}.crt",
        "tlsPrivateKeyFile": f"{at}/{node.name}.key",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": plan.cgroup(node),
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["pods"],
        "protectKernelDefaults": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "clusterDNS": [plans.DNS_SERVICE],
        "clusterDomain": plans.DOMAIN,
        "resolvConf": str(plan.of(node) / "pods-resolv.conf"),
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "0%",
            "imagefs.available": "0%",
            "nodefs.inodesFree": "0%",
        },
        "readOnlyPort": 0,
        "nodeStatusUpdateFrequency": "5s",
        "serializeImagePulls": False,
    }


def proxy(plan: Plan, node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(plan.kubeconfig_of("proxy"))},
        "mode": "iptables",
        "hostnameOverride": node.name,
        "clusterCIDR": plans.PODS,
        "iptables": {"minSyncPeriod": "0s"},
        "oomScoreAdj": 0,
        # What conntrack may hold is the machine's own affair.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def hosts(plan: Plan) -> str:
    lines = ["127.0.0.1 localhost", *(f"{node.address} {node.name}" for node in plan.machines)]
    return "\n".join(lines) + "\n"
