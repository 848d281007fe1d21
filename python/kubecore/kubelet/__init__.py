"""The kubelet: runs the pods bound to its node, and says how they and the node are.

In: pods from the API server and from a directory. Out: calls of a container runtime (`runtimes.protocol`), pod and node status.
"""
