"""The command's door: a table of verbs, each loaded only when it is used, since start-up time is part of the product."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

VERBS: dict[str, tuple[str, str]] = {
    # verb: (module, one line of help)
    "up": ("up", "Start a whole cluster on this machine"),
    "down": ("down", "Stop the cluster that `up` started"),
    "apiserver": ("parts", "Run the API server alone"),
    "controllers": ("parts", "Run the controllers alone"),
    "scheduler": ("parts", "Run the scheduler alone"),
    "nodes": ("parts", "Run simulated nodes alone"),
    "kubelet": ("kubelet", "Run the kubelet of one node alone"),
    "service-proxy": ("service_proxy", "Run the service proxy of one node alone"),
    "node": ("node", "Switch a real node off and on"),
    "image": ("image", "Import and list the images of real nodes"),
    "apply": ("apply", "Apply manifests by file"),
    "create": ("create", "Create objects from files"),
    "get": ("get", "List objects or show some"),
    "describe": ("describe", "Show an object in detail, with its events"),
    "delete": ("delete", "Delete objects by file, name or label"),
    "scale": ("scale", "Set the number of replicas"),
    "patch": ("patch", "Change some fields of objects"),
    "events": ("events", "List events"),
    "explain-pod": ("explain_pod", "Say where a pod would go now, and why"),
    "plan": ("plan", "Say where pods would go, without touching the cluster"),
    "logs": ("logs", "Print the log of a container"),
    "exec": ("exec", "Run a command in a container"),
    "attach": ("exec", "See what a container says, and type to it"),
    "cp": ("cp", "Copy files into a container and out of it"),
    "port-forward": ("port_forward", "Lead ports of this machine to a pod's"),
    "top": ("top", "Show what nodes and pods use"),
    "ui": ("ui", "Open the page: nodes, workloads, pods, logs, the flow of changes"),
    "proxy": ("proxy", "Open a plain REST door to the API server on loopback"),
    "store": ("store", "Look after the data directory: verify, dump, snapshot, restore, repair, defragment"),
    "bench": ("bench", "Measure the control plane"),
    "version": ("version", "Print versions of this command and of the server"),
}


class LazyVerbs(click.Group):
    """Imports `kubecore_cli.<module>` when its verb is asked for; the attribute has the verb's name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"kubecore_cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def kubecore() -> None:
    """A Kubernetes control plane in one command. Start with `kubecore up`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code: 0 done, 1 failed, 2 called wrongly, 130 interrupted."""
    try:
        code = kubecore.main(args=arguments, prog_name="kubecore", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
