from __future__ import annotations

import random

import pytest

from kubecore.apiserver.access.admission.chain import PluginOptions, build_chain


def names(enable: list[str], disable: list[str]) -> list[str]:
    return [plugin.name for plugin in build_chain(enable, disable, PluginOptions(random.Random(1))).plugins]


def test_the_default_plugins_run_in_upstreams_order() -> None:
    assert names([], []) == [
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "TaintNodesByCondition",
        "Priority",
        "DefaultTolerationSeconds",
        "RuntimeClass",
        "ResourceQuota",
    ]


def test_a_plugin_is_added_in_its_place_and_another_left_out() -> None:
    chosen = names(["AlwaysPullImages"], ["Priority"])
    assert chosen.index("AlwaysPullImages") == chosen.index("TaintNodesByCondition") + 1
    assert "Priority" not in chosen


def test_names_that_are_unknown_missing_or_contradictory_are_refused() -> None:
    with pytest.raises(ValueError, match='enable-admission-plugins plugin "Magic" is unknown'):
        names(["Magic"], [])
    with pytest.raises(ValueError, match='"NodeRestriction" is not implemented yet'):
        names(["NodeRestriction"], [])
    with pytest.raises(ValueError, match="overlapped"):
        names(["Priority"], ["Priority"])
    assert "Priority" in names([], ["NodeRestriction"])
