"""A Ray cluster of several nodes on this machine, until standard input ends: python nodes.py NODES"""

import sys

from ray.cluster_utils import Cluster


def main() -> None:
    cluster = Cluster()
    for _ in range(int(sys.argv[1])):
        cluster.add_node(
            num_cpus=1, object_store_memory=100_000_000, include_dashboard=False, dashboard_agent_listen_port=0
        )
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
