"""The command line of every daemon. Pure; who runs them is daemons.py, and the files that they name are written by files.py."""

from tests.cluster import plan as plans
from tests.cluster.plan import Node, Plan

ETCD = "http://127.0.0.1:2379"
_HASTE = ("--kube-api-qps=500", "--kube-api-burst=1000")  # at the default 20 a second, controllers take 5 s to start


def etcd(plan: Plan) -> list[str]:
    return [
        str(plan.programs / "etcd"),
        "--name=etcd",
        "--data-dir=/run/etcd",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--log-level=warn",
        "--unsafe-no-fsync",
    ]


def apiserver(plan: Plan) -> list[str]:
    at = plan.certificates
    return [
        str(plan.programs / "kube-apiserver"),
        f"--etcd-servers={ETCD}",
        "--bind-address=0.0.0.0",
        f"--secure-port={plans.PORT}",
        f"--advertise-address={Node(1).address}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={at}/ca.crt",
        f"--tls-cert-file={at}/apiserver.crt",
        f"--tls-private-key-file={at}/apiserver.key",
        f"--kubelet-client-certificate={at}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={at}/apiserver-kubelet-client.key",
        f"--kubelet-certificate-authority={at}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        f"--service-account-issuer=https://kubernetes.default.svc.{plans.DOMAIN}",
        f"--service-account-key-file={at}/sa.pub",
        f"--service-account-signing-key-file={at}/sa.key",
        f"--service-cluster-ip-range={plans.SERVICES}",
        f"--requestheader-client-ca-file={at}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={at}/front-proxy-client.crt",
        f"--proxy-client-key-file={at}/front-proxy-client.key",
        "--enable-aggregator-routing=true",
        "--profiling=false",
        "--event-ttl=30m",
        "--v=1",
    ]


def controller_manager(plan: Plan) -> list[str]:
    at = plan.certificates
    return [
        str(plan.programs / "kube-controller-manager"),
        *_identity(plan, "controller-manager"),
        f"--root-ca-file={at}/ca.crt",
        f"--service-account-private-key-file={at}/sa.key",
        "--use-service-account-credentials",
        f"--cluster-signing-cert-file={at}/ca.crt",
        f"--cluster-signing-key-file={at}/ca.key",
        f"--service-cluster-ip-range={plans.SERVICES}",
        f"--cluster-cidr={plans.PODS}",
        "--allocate-node-cidrs=false",  # a node's pods have the addresses that its CNI configuration says
        "--leader-elect=false",
        "--horizontal-pod-autoscaler-sync-period=5s",
        *_HASTE,
    ]


def scheduler(plan: Plan) -> list[str]:
    return [
        str(plan.programs / "kube-scheduler"),
        *_identity(plan, "scheduler"),
        "--leader-elect=false",
        *_HASTE,
    ]


def containerd(plan: Plan, node: Node) -> list[str]:
    return ["containerd", f"--config={plan.of(node)}/containerd.toml", "--log-level=warn"]


def kubelet(plan: Plan, node: Node) -> list[str]:
    return [
        str(plan.programs / "kubelet"),
        f"--config={plan.of(node)}/kubelet.json",
        f"--kubeconfig={plan.kubeconfig_of(node.name)}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        f"--node-labels=topology.kubernetes.io/zone={node.zone}",
        "--root-dir=/var/lib/kubelet",
    ]


def proxy(plan: Plan, node: Node) -> list[str]:
    return [str(plan.programs / "kube-proxy"), f"--config={plan.of(node)}/proxy.json"]


def policies(plan: Plan, node: Node) -> list[str]:
    return [
        str(plan.programs / "policies"),
        "--run-router=false",
        "--run-service-proxy=false",
        "--run-firewall=true",
        f"--kubeconfig={plan.kubeconfig}",
        f"--hostname-override={node.name}",
        f"--service-cluster-ip-range={plans.SERVICES}",
    ]


def fakes(plan: Plan) -> list[str]:
    """kwok keeps the nodes alive that say they are its own, and no others."""
    return [
        str(plan.programs / "kwok"),
        f"--kubeconfig={plan.kubeconfig}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",
        "--v=WARN",
    ]


def _identity(plan: Plan, user: str) -> list[str]:
    path = plan.kubeconfig_of(user)
    return [f"--{purpose}kubeconfig={path}" for purpose in ("", "authentication-", "authorization-")]
