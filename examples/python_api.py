"""kubecore in a Python program: a whole cluster for as long as the `with` block lasts. Run it: `python examples/python_api.py`."""

from pathlib import Path

import kubecore
from kubecore.api import errors
from kubecore.api.meta import Object

EXAMPLES = Path(__file__).resolve().parent


def is_complete(controller: Object | None) -> bool:
    """As many pods are ready as are wanted; None while there is no such controller."""
    return controller is not None and controller["status"].get("readyReplicas") == controller["spec"]["replicas"]


def main() -> None:
    with kubecore.Cluster(nodes=2) as cluster:
        for name in ("myweb-rc.yaml", "myweb-svc.yaml"):
            cluster.apply((EXAMPLES / name).read_text())
        cluster.scale("rc", "myweb", replicas=3)
        cluster.wait_for("rc", "myweb", is_complete)
        for pod in cluster.list("pods", label_selector="app=myweb"):
            print(pod["metadata"]["name"], "runs on", pod["spec"]["nodeName"], "at", pod["status"]["podIP"])
        cluster.delete("services", "myweb")
        try:
            cluster.get("services", "myweb")
        except errors.NotFound as refusal:
            print(refusal)


if __name__ == "__main__":
    main()
