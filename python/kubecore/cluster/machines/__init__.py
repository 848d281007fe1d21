"""Several hosts on one box: network namespaces, the fabric between them, and the machines whose units make a node.

namespaces  made, entered, removed; sockets in them    claim       a cluster's name on this box; sweeping what is left
fabric      who is wired to whom, with which address   machine     one node's process tree, from outside
addresses   which address everybody has                supervisor  the same, from inside: its pid 1
announcer   routes to pods and load balancers          units       the command lines it keeps running
control     kill and start a node of a running cluster  site       all of it, for the composition root
"""
