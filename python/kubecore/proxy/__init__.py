"""The service proxy and cluster DNS: what makes a Service's address and name work on a node.

In: services, endpoint slices, nodes. Out: rules of the kernel (or connections of our own), routes to other nodes' pods,
answers to names.
"""
