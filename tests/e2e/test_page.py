"""The page in Debian's Chromium: what a person sees, and that it acts with their own rights. Screenshots go to build/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect
from tests.support.browser import SHOTS, Tab, address, chromium, opened
from tests.support.kubectl import Kubectl
from tests.support.processes import Process, Up, environment, up

from kubecore.cluster.apiserver import free_port

MANY = 10_000

WORKLOADS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: tomcat}
spec:
  replicas: 4
  selector: {matchLabels: {app: tomcat}}
  template:
    metadata:
      labels: {app: tomcat}
      annotations: {kwok.x-k8s.io/usage-cpu: 180m, kwok.x-k8s.io/usage-memory: 420Mi}
    spec:
      containers:
      - {name: tomcat, image: "tomcat-app:v1", resources: {requests: {cpu: 250m, memory: 512Mi}}}
      - {name: shipper, image: "shipper:2"}
---
apiVersion: v1
kind: Service
metadata: {name: tomcat}
spec: {type: NodePort, selector: {app: tomcat}, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: too-big}
spec: {containers: [{name: a, image: x, resources: {requests: {cpu: "900"}}}]}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("cluster"), "--nodes", "3", "--storage", "memory") as running:
        kubectl = Kubectl(running.kubeconfig)
        kubectl("apply", "-f", "-", stdin=WORKLOADS)
        kubectl("rollout", "status", "deployment/tomcat", "--timeout=30s")
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    with chromium(tmp_path_factory.mktemp("chromium")) as context:
        yield context


@pytest.fixture
def admin(cluster: Up, browser: BrowserContext) -> Iterator[Tab]:
    tab = opened(browser, address(cluster, "--role", "cluster-admin"))
    yield tab
    tab.page.close()
    assert tab.complaints == [], "nothing is refused, not by the page's own policy either"


@pytest.fixture
def reader(cluster: Up, browser: BrowserContext) -> Iterator[Tab]:
    tab = opened(browser, address(cluster))
    yield tab
    tab.page.close()


def test_the_token_comes_in_the_fragment_and_is_taken_out_of_it(cluster: Up, browser: BrowserContext) -> None:
    url = address(cluster)
    assert "token=" not in url.split("#")[0]
    requested: list[str] = []
    tab = Tab(browser.new_page())
    tab.page.on("request", lambda request: requested.append(request.url))
    tab.page.goto(url)
    expect(tab.page.locator(".shell")).to_be_visible()
    token = url.split("#token=")[1]
    assert "token" not in tab.page.url
    assert tab.page.evaluate("sessionStorage.getItem('kubecore.token')") == token
    assert tab.page.evaluate("JSON.stringify(localStorage)").find(token) == -1
    assert [each for each in requested if token in each] == []
    tab.page.close()


def test_without_a_token_the_page_asks_for_one_and_takes_a_pasted_one(cluster: Up, browser: BrowserContext) -> None:
    url = address(cluster)
    page = browser.new_page()
    page.goto(url.split("#")[0])
    expect(page.get_by_label("Token")).to_be_focused()
    page.emulate_media(color_scheme="light")
    page.screenshot(path=SHOTS / "page-sign-in.png")
    page.get_by_label("Token").fill("nonsense")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Unauthorized")
    page.get_by_label("Token").fill(url.split("#token=")[1])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".shell")).to_be_visible()
    page.close()


def test_the_overview_counts_and_charts(admin: Tab) -> None:
    page = admin.page
    expect(page.locator(".figures > a").nth(0)).to_contain_text("3 ready")
    expect(page.locator(".figures > a").nth(1)).to_contain_text("4 running")
    expect(page.locator(".chart-value").first).to_contain_text("1.44")
    expect(page.locator(".event-list .warning").first).to_contain_text("FailedScheduling")
    admin.shot("overview")
    admin.shot("overview-dark", dark=True)


def test_what_changes_is_seen_without_a_reload(admin: Tab, cluster: Up) -> None:
    page = admin.go("pods")
    row = page.get_by_role("row").filter(has_text="latecomer")
    expect(page.get_by_role("row").filter(has_text="tomcat")).to_have_count(4)
    expect(row).to_have_count(0)
    kubectl = Kubectl(cluster.kubeconfig)
    kubectl("run", "latecomer", "--image=x", "-n", "default")
    expect(row).to_contain_text("Running")
    admin.shot("pods")
    kubectl("delete", "pod", "latecomer", "-n", "default")
    expect(row).to_have_count(0)


def test_nodes_and_a_node(admin: Tab) -> None:
    page = admin.go("nodes")
    expect(page.get_by_role("row").filter(has_text="node-0")).to_contain_text("Ready")
    expect(page.locator(".meter-text").first).to_contain_text("of 32")
    admin.shot("nodes-dark", dark=True)
    page.get_by_role("link", name="node-1").click()
    expect(page.locator(".detail-head h2")).to_have_text("node-1")
    expect(page.locator(".conditions")).to_contain_text("kubelet is posting ready status")
    admin.shot("node")
    page.get_by_role("button", name="Cordon", exact=True).click()
    expect(page.get_by_role("button", name="Uncordon")).to_be_visible()
    page.get_by_role("button", name="Uncordon").click()
    expect(page.get_by_role("button", name="Cordon", exact=True)).to_be_visible()


def test_a_pods_containers_events_and_object(admin: Tab) -> None:
    page = admin.go("pods")
    page.get_by_role("link", name=re.compile("^tomcat-")).first.click()
    expect(page.locator(".container")).to_have_count(2)
    expect(page.locator(".container").first).to_contain_text("180m, 420 MiB")
    admin.shot("pod")
    page.get_by_role("tab", name="Events").click()
    expect(page.locator(".event-list")).to_contain_text("Successfully assigned default/tomcat-")
    page.get_by_role("tab", name="Object").click()
    expect(page.locator(".object")).to_contain_text('"image": "tomcat-app:v1"')


def test_a_workload_is_scaled_by_its_user(admin: Tab) -> None:
    page = admin.go("workloads/deployments/default/tomcat")
    expect(page.locator(".card h2").filter(has_text="Pods (4)")).to_be_visible()
    page.get_by_role("button", name="Scale…").click()
    page.get_by_label("Replicas").first.fill("6")
    admin.shot("scale")
    page.get_by_role("button", name="Scale", exact=True).click()
    expect(page.locator(".card h2").filter(has_text="Pods (6)")).to_be_visible()
    expect(page.locator(".facts .meter-text")).to_have_text("6 / 6")
    expect(page.locator(".chart-note").first).to_have_text("1.5 requested")
    expect(page.locator(".chart-value").first).to_have_text(re.compile("^(1.44|2.16)$"))
    admin.shot("workload-dark", dark=True)
    page.get_by_role("button", name="Scale…").click()
    page.get_by_label("Replicas").first.fill("4")
    page.get_by_role("button", name="Scale", exact=True).click()
    expect(page.locator(".card h2").filter(has_text="Pods (4)")).to_be_visible()


def test_services_show_where_they_are_reached(admin: Tab) -> None:
    page = admin.go("services")
    row = page.get_by_role("row").filter(has_text="tomcat")
    expect(row).to_contain_text("NodePort")
    expect(row).to_contain_text("4 / 4")
    admin.shot("services")


def test_the_flow_says_who_wrote_what_and_who_watches(admin: Tab, cluster: Up) -> None:
    page = admin.go("flow")
    expect(page.locator(".party-name").filter(has_text="kube-scheduler")).to_be_visible()
    expect(page.locator(".party-name").filter(has_text="this page")).to_be_visible()
    Kubectl(cluster.kubeconfig)("run", "passing", "--image=x", "-n", "default")
    made = page.locator(".flow-list li").filter(has_text="made Pod/passing")
    expect(made).to_contain_text("kubectl · kubernetes-admin")
    expect(made).to_contain_text(re.compile(r"→ \d+ watchers"))
    expect(page.locator(".flow-list li").filter(has_text="bound to node-").first).to_contain_text("kube-scheduler")
    admin.shot("flow")
    admin.shot("flow-dark", dark=True)
    Kubectl(cluster.kubeconfig)("delete", "pod", "passing", "-n", "default")
    expect(page.locator(".flow-list li").filter(has_text="deleted Pod/passing")).to_be_visible()


def test_the_keyboard_is_enough(admin: Tab) -> None:
    page = admin.page
    page.keyboard.press("g")
    page.keyboard.press("p")
    expect(page.locator("h1")).to_have_text("Pods")
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("tomcat")
    expect(page.locator(".counted")).to_have_text("4 of 5 pods")
    page.keyboard.press("Escape")
    page.get_by_role("grid", name="Pods").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".row.active")).to_have_attribute("aria-rowindex", "3")
    active = page.locator(".row.active a").first.text_content()
    page.keyboard.press("Enter")
    expect(page.locator(".detail-head h2")).to_have_text(active or "")
    page.keyboard.press("Escape")
    expect(page.locator("h1")).to_have_text("Pods")
    expect(page.locator(".detail")).to_have_count(0)


def test_the_theme_is_the_systems_until_it_is_chosen(admin: Tab) -> None:
    page = admin.page
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.get_by_title("Theme").click()
    assert page.evaluate(ground) == light, "light was chosen, whatever the system says"
    page.get_by_title("Theme").click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == dark
    page.get_by_title("Theme").click()


def test_who_may_only_look_has_no_buttons(reader: Tab) -> None:
    page = reader.go("workloads/deployments/default/tomcat")
    expect(page.locator(".detail-head .buttons[data-known]")).to_be_attached()
    expect(page.get_by_role("button", name=re.compile("Scale…|Restart…|Delete…"))).to_have_count(0)
    reader.go("nodes/node-0")
    expect(page.locator(".detail-head h2")).to_have_text("node-0")
    expect(page.locator(".detail-head .buttons[data-known]")).to_be_attached()
    expect(page.get_by_role("button", name="Cordon")).to_have_count(0)
    reader.go("logs")
    expect(page.locator(".log")).to_be_visible()
    assert reader.complaints == []


def test_who_may_nothing_is_told_so_in_the_servers_words(cluster: Up, browser: BrowserContext) -> None:
    Kubectl(cluster.kubeconfig)("create", "serviceaccount", "nobody", "-n", "default")
    tab = opened(browser, address(cluster, "--service-account", "default/nobody"))
    tab.go("pods")
    expect(tab.page.get_by_role("alert").first).to_contain_text('cannot list resource "pods" in API group ""')
    tab.go("flow")
    expect(tab.page.locator(".quiet-text").first).to_contain_text("is not shown")
    tab.page.close()


def test_through_the_proxy_no_token_is_needed(cluster: Up, browser: BrowserContext) -> None:
    proxy = Process("proxy", "--port=0", env=environment(KUBECONFIG=str(cluster.kubeconfig)))
    try:
        port = int(proxy.wait_for_line(re.compile(r"Starting to serve on 127\.0\.0\.1:(\d+)"))[1])
        tab = opened(browser, f"http://127.0.0.1:{port}/ui/")
        expect(tab.page.get_by_title("kubernetes-admin: sign out")).to_be_visible()
        expect(tab.page.locator(".figures > a").first).to_contain_text("3 ready")
        page = tab.go("pods")
        Kubectl(cluster.kubeconfig)("run", "by-proxy", "--image=x", "-n", "default")
        expect(page.get_by_role("row").filter(has_text="by-proxy")).to_contain_text("Running")
        Kubectl(cluster.kubeconfig)("delete", "pod", "by-proxy", "-n", "default")
        page.close()
    finally:
        proxy.end()


def test_the_page_goes_on_when_the_api_server_was_killed_and_is_back(browser: BrowserContext, tmp_path: Path) -> None:
    with up(tmp_path, "--nodes", "1", "--port", str(free_port("127.0.0.1"))) as running:
        kubectl = Kubectl(running.kubeconfig)
        tab = opened(browser, address(running))
        page = tab.go("pods")
        kubectl("run", "before", "--image=x", "-n", "default")
        expect(page.get_by_role("row").filter(has_text="before")).to_contain_text("Running")
        running.process.kill()
        expect(page.locator(".live")).to_have_text("reconnecting")
        running.start()
        expect(page.locator(".live")).to_have_text("live", timeout=20_000)
        kubectl("run", "after", "--image=x", "-n", "default")
        expect(page.get_by_role("row").filter(has_text="after")).to_contain_text("Running")
        expect(page.get_by_role("row").filter(has_text="before")).to_have_count(1)
        page.close()


def test_on_a_narrow_screen_everything_is_still_reached(admin: Tab) -> None:
    page = admin.page
    page.set_viewport_size({"width": 480, "height": 860})
    page.get_by_title(re.compile("^Pods")).click()
    expect(page.get_by_role("grid", name="Pods")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "only the table itself scrolls sideways"
    admin.shot("narrow")
    page.set_viewport_size({"width": 1360, "height": 860})


def test_ten_thousand_pods_are_listed_and_scrolled(browser: BrowserContext, tmp_path: Path) -> None:
    with up(tmp_path, "--nodes", "100", "--storage", "memory") as running:
        kubectl = Kubectl(running.kubeconfig)
        kubectl("create", "deployment", "many", "--image=x", f"--replicas={MANY}", "-n", "default")
        tab = opened(browser, address(running))
        page = tab.go("pods")
        expect(page.locator(".counted")).to_have_text("10,000 pods", timeout=90_000)
        assert page.locator(".table .row").count() < 60, "only what is in sight is drawn"
        page.get_by_role("grid", name="Pods").focus()
        page.keyboard.press("End")
        expect(page.locator(".row.active")).to_have_attribute("aria-rowindex", "10000")
        name = page.locator(".row.active a").first.text_content() or ""
        page.get_by_label("Search").fill(name)
        expect(page.locator(".counted")).to_have_text("1 of 10,000 pods")
        page.get_by_label("Search").fill("")
        tab.shot("ten-thousand")
        page.close()
        assert tab.complaints == []
