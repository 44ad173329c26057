"""A Ray cluster of several nodes on this machine, until standard input ends: python nodes.py NODES"""

import sys

from ray.cluster_utils import Cluster

ATTEMPTS = 4
"""To start a node, for which Ray waits half a minute however busy the machine is."""


def add_node(cluster: Cluster) -> None:
    for attempt in range(ATTEMPTS):
        try:
            cluster.add_node(
                num_cpus=1, object_store_memory=100_000_000, include_dashboard=False, dashboard_agent_listen_port=0
            )
            return
        except Exception:  # which Ray raises as such
            if attempt == ATTEMPTS - 1:
                raise


def main() -> None:
    cluster = Cluster()
    for _ in range(int(sys.argv[1])):
        add_node(cluster)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
