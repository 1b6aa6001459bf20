"""Settings of the operator."""

from dataclasses import dataclass

from services.runtime.settings import SettingsError, setting


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """What is watched. The API server is reached by the pod's service account, or else by KUBECONFIG or ~/.kube/config (without plug-ins that run programs)."""

    namespaces: tuple[str, ...] = setting(
        (),
        "TIDEBOARD_OPERATOR_NAMESPACES",
        "Namespaces whose Dashboards and Sources are shown, comma separated; * for all, which needs a ClusterRole. "
        "Empty: the operator's own, or the one of the context in the kubeconfig",
    )
    resync_s: float = setting(
        30.0,
        "TIDEBOARD_OPERATOR_RESYNC",
        "How often all resources are listed, beside being watched: what a broken watch missed is seen by then",
        "s",
        between=(1, 3_600),
    )
    shipped: str = setting(
        "",
        "TIDEBOARD_OPERATOR_SHIPPED",
        "Folder of dashboards that come with the installation: Dashboard resources are made of its files; empty: none",
    )
    shipped_owner: str = setting(
        "", "TIDEBOARD_OPERATOR_SHIPPED_OWNER", "ConfigMap that these files are of. It owns the resources: with it they go"
    )

    def __post_init__(self) -> None:
        if self.shipped and not self.shipped_owner:
            raise SettingsError("TIDEBOARD_OPERATOR_SHIPPED needs TIDEBOARD_OPERATOR_SHIPPED_OWNER, the ConfigMap of its files")
