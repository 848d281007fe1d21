"""The scheduler: queue, profile and binding in Python; filters and scores in the Rust kernel."""

from kubecore.scheduler.profile import Profile
from kubecore.scheduler.queue import SchedulingQueue
from kubecore.scheduler.scheduler import Scheduler

__all__ = ["Profile", "Scheduler", "SchedulingQueue"]
