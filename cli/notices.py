"""What a person should know about something just made. It goes to standard error: what reads our output reads on as before.

An API `Warning:` header would reach every client, and break those that take warnings for errors; upstream sends none.
"""

from __future__ import annotations

import click

from kubecore.api.meta import Object


def tell_made(obj: Object) -> None:
    """Says which ports to open for a service that listens on every node."""
    if obj.get("kind") != "Service" or obj.get("apiVersion") != "v1":
        return
    ports = [
        f"{port.get('protocol', 'TCP').lower()}:{port['nodePort']}"
        for port in obj.get("spec", {}).get("ports") or ()
        if port.get("nodePort")
    ]
    if ports:
        name = obj["metadata"]["name"]
        several = "s" if len(ports) > 1 else ""
        click.echo(
            f"service/{name} listens on every node: to reach it from outside, open the port{several} {', '.join(ports)}"
            " in the nodes' firewalls",
            err=True,
        )
