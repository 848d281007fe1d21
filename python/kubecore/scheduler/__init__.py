"""The scheduler: queue, configuration and binding in Python; filters and scores in the Rust kernel."""

from kubecore.scheduler.configuration import Configuration
from kubecore.scheduler.configuration import read as read_configuration
from kubecore.scheduler.profile import Profile, Refused
from kubecore.scheduler.queue import SchedulingQueue
from kubecore.scheduler.scheduler import Scheduler
from kubecore.scheduler.whatif import Explanation, Placement, WhatIf
from kubecore.scheduler.whatif import as_json as explanation_as_json

__all__ = [
    "Configuration",
    "Explanation",
    "Placement",
    "Profile",
    "Refused",
    "Scheduler",
    "SchedulingQueue",
    "WhatIf",
    "explanation_as_json",
    "read_configuration",
]
