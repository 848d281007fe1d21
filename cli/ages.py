"""How long ago, as kubectl says it."""

from __future__ import annotations

from kubecore.api.meta import Object, parse_timestamp


def human_age(seconds: float) -> str:
    """`45s`, `3m10s`, `5h`, `2d`: as kubectl shortens it."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    return f"{days}d"


def last_seen(event: Object) -> float:
    series = event.get("series") or {}
    for text in (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")):
        if text:
            return parse_timestamp(text)
    return parse_timestamp(event["metadata"]["creationTimestamp"])
