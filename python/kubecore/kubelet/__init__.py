"""The kubelet: runs the pods of one node through a container runtime. See docs/design/nodes.md.

kubelet          builds the parts        configuration    upstream's file and flags
seams            what the rooms ask of one another
"""
