// The API as the signed-in user sees it: one fetch for everything, with their own token, which lives in this tab alone.

const TOKEN_KEY = "kubecore.token";

export class ApiError extends Error {
  constructor(code, reason, message) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

export class Api {
  #rights = new Map();
  onRefused = () => {};

  get token() {
    return sessionStorage.getItem(TOKEN_KEY) ?? "";
  }

  set token(token) {
    if (token) sessionStorage.setItem(TOKEN_KEY, token);
    else sessionStorage.removeItem(TOKEN_KEY);
    this.#rights.clear();
  }

  async fetch(path, { method = "GET", body, type = "application/json", accept = "application/json", signal } = {}) {
    const headers = { accept };
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    if (body !== undefined) headers["content-type"] = type;
    const response = await fetch(path, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
    });
    if (response.ok) return response;
    const error = await refusal(response);
    if (error.code === 401) this.onRefused(error);
    throw error;
  }

  async json(path, options) {
    return (await this.fetch(path, options)).json();
  }

  async text(path, options) {
    return (await this.fetch(path, { accept: "*/*", ...options })).text();
  }

  // Pages of a list, as they come.
  async *pages(path, { limit = 500, query = {}, signal } = {}) {
    let token = "";
    do {
      const parameters = new URLSearchParams({ ...query, limit, ...(token && { continue: token }) });
      const page = await this.json(`${path}?${parameters}`, { signal });
      yield page;
      token = page.metadata.continue ?? "";
    } while (token);
  }

  // The events of a watch, in the batches in which they arrive; the first is empty and says that the watch stands.
  async *watch(path, { resourceVersion, query = {}, signal }) {
    const parameters = new URLSearchParams({ ...query, watch: "1", allowWatchBookmarks: "true", resourceVersion });
    const response = await this.fetch(`${path}?${parameters}`, { signal });
    yield [];
    for await (const lines of linesOf(response.body)) {
      yield lines.filter(Boolean).map((line) => JSON.parse(line));
    }
  }

  // Lines of a log as they are written.
  async *follow(path, { signal }) {
    const response = await this.fetch(path, { accept: "*/*", signal });
    yield* linesOf(response.body);
  }

  // Whether the user may: asked once for each right, the answer kept for this token.
  can(verb, { group = "", resource, subresource = "", namespace = "", name = "" }) {
    const key = [verb, group, resource, subresource, namespace, name].join(" ");
    if (!this.#rights.has(key)) {
      const resourceAttributes = { verb, group, resource, subresource, namespace, name };
      this.#rights.set(key, this.#review({ resourceAttributes }));
    }
    return this.#rights.get(key);
  }

  canGet(path) {
    const key = `get ${path}`;
    if (!this.#rights.has(key)) {
      this.#rights.set(key, this.#review({ nonResourceAttributes: { verb: "get", path } }));
    }
    return this.#rights.get(key);
  }

  async #review(spec) {
    try {
      const review = await this.json("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
        method: "POST",
        body: { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec },
      });
      return review.status.allowed === true;
    } catch (error) {
      if (error instanceof ApiError) return false;
      throw error;
    }
  }

  // Who the server takes us for; throws if it does not know us.
  async whoAmI() {
    const review = await this.json("/apis/authentication.k8s.io/v1/selfsubjectreviews", {
      method: "POST",
      body: { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" },
    });
    return review.status.userInfo;
  }
}

async function* linesOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      if (lines.length) yield lines;
    }
    if (rest) yield [rest];
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function refusal(response) {
  const text = await response.text().catch(() => "");
  try {
    const status = JSON.parse(text);
    if (status.kind === "Status") return new ApiError(response.status, status.reason ?? "", status.message ?? "");
  } catch {
    // Not a Status: a proxy's page, or plain text.
  }
  return new ApiError(response.status, "", text.trim().slice(0, 300) || `the server answered ${response.status}`);
}
