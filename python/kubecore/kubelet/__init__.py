"""The kubelet: runs the pods of one node through a container runtime. See docs/design/nodes.md.

kubelet          builds the parts             configuration     upstream's file and flags
seams            what the rooms ask of one another
sources, static  where pods come from         pod_manager       the pods and their workers
worker           one pod: look, plan, act     plan              what to do next (pure)
containers       the steps of start and stop  runtime_view      what the runtime has
status, container_status, phase, conditions   what a pod's status says (pure); status_manager writes it
images, lifecycle, hosts, termination, directories, crash_backoff, admission
node_status, node_object                      the node and its lease
log_rotation, image_collection                what fills the disk
"""
