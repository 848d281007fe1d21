// Services: where each is reached, and how many of its endpoints are ready.

import { h, onFrame, replace } from "./dom.js";
import { ageOf, listState, since } from "./parts.js";
import { Table } from "./table.js";

const outside = (service) =>
  service.type === "ExternalName" ? "–" : [...(service.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname), ...(service.externalIPs ?? [])].join(", ") || (service.type === "LoadBalancer" ? "pending" : "–");

const ports = (service) => (service.ports ?? []).map(({ port, nodePort, protocol }) => `${port}${nodePort ? `:${nodePort}` : ""}/${protocol ?? "TCP"}`).join(", ");

export function servicesView({ collections, state, main }) {
  const services = collections.of("services");
  const slices = collections.of("endpointslices");
  let counts = new Map();
  const table = new Table({
    label: "Services",
    key: (service) => service.metadata.uid,
    empty: "No services match.",
    columns: [
      { title: "Name", width: "minmax(9rem, 1.6fr)", value: ({ metadata }) => metadata.name, cell: ({ metadata }) => h("strong", {}, metadata.name) },
      { title: "Namespace", width: "minmax(6rem, 1fr)", cell: ({ metadata }) => metadata.namespace },
      { title: "Type", width: "8rem", cell: ({ type }) => type },
      { title: "Cluster address", width: "minmax(8rem, 1fr)", cell: ({ clusterIP }) => clusterIP || "–" },
      { title: "Outside", width: "minmax(7rem, 1fr)", cell: outside },
      { title: "Ports", width: "minmax(9rem, 1.4fr)", cell: ports },
      { title: "Endpoints", width: "7rem", align: "number", value: (service) => counts.get(service.metadata.uid)?.[0] ?? 0, cell: (service) => (counts.get(service.metadata.uid) ?? [0, 0]).join(" / ") },
      { title: "Age", width: "5rem", align: "number", value: ageOf, cell: (service) => since(ageOf(service)) },
    ],
  });
  const notice = h("div", {});
  main.append(notice, table.element);
  const draw = onFrame(() => {
    counts = new Map();
    for (const { metadata, endpoints } of slices.items.values()) {
      const [ready, all] = counts.get(metadata.owner?.uid) ?? [0, 0];
      counts.set(metadata.owner?.uid, [ready + endpoints.filter((each) => each.ready !== false).length, all + endpoints.length]);
    }
    replace(notice, listState(services));
    table.update([...services.items.values()].filter((service) => state.matches(service, service.type, service.clusterIP, outside(service))));
  });
  const ends = [services, slices, state].map((each) => each.subscribe(draw));
  return () => {
    ends.forEach((end) => end());
    table.dispose();
  };
}
