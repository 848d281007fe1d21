// List and watch, in the browser: each kind is listed by pages once, then followed. Views subscribe; who leaves last ends the watch a
// little later. A watch that breaks is taken up at the last revision; one that is too old (410) lists again.

import { ApiError } from "./api.js";
import { KINDS, keyOf, slim } from "./kinds.js";

const RETRY_MILLISECONDS = [500, 1000, 2000, 5000, 10000];
const LINGER_MILLISECONDS = 30000;

const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

export class Collection {
  items = new Map();
  state = "idle"; // loading, live, refused, broken
  error = null;
  remaining = 0;
  #listeners = new Set();
  #abort = null;
  #linger = 0;
  #api;
  #onEvent;

  constructor(api, kind, onEvent) {
    this.#api = api;
    this.kind = kind;
    this.#onEvent = onEvent;
  }

  subscribe(listener) {
    this.#listeners.add(listener);
    clearTimeout(this.#linger);
    if (!this.#abort) this.#start();
    listener();
    return () => {
      this.#listeners.delete(listener);
      if (!this.#listeners.size) this.#linger = setTimeout(() => this.stop(), LINGER_MILLISECONDS);
    };
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
    this.items = new Map();
    this.state = "idle";
  }

  #start() {
    this.#abort = new AbortController();
    this.#run(this.#abort.signal);
  }

  #tell(state) {
    if (state) this.state = state;
    for (const listener of this.#listeners) listener();
  }

  async #run(signal) {
    let failures = 0;
    while (!signal.aborted) {
      try {
        let version = await this.#list(signal);
        failures = 0;
        while (!signal.aborted) version = await this.#follow(version, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.error = error;
        if (error instanceof ApiError && [401, 403, 404, 405].includes(error.code)) {
          this.#tell("refused");
          return;
        }
        if (!(error instanceof ApiError && error.code === 410)) {
          this.#tell("broken");
          await pause(RETRY_MILLISECONDS[Math.min(failures++, RETRY_MILLISECONDS.length - 1)], signal);
        }
      }
    }
  }

  async #list(signal) {
    if (this.state !== "broken") this.#tell("loading");
    const found = new Map();
    let version = "0";
    for await (const page of this.#api.pages(this.kind.path(), { signal })) {
      for (const object of page.items) {
        const kept = slim(this.kind, object);
        found.set(keyOf(kept), kept);
      }
      version = page.metadata.resourceVersion;
      this.remaining = page.metadata.remainingItemCount ?? 0;
      if (this.state === "loading") {
        // The first pages are shown while the others come.
        this.items = found;
        this.#tell();
      }
    }
    this.items = found;
    this.remaining = 0;
    this.error = null;
    this.#tell("live");
    return version;
  }

  // Gives the revision to go on from when the server ends the watch.
  async #follow(resourceVersion, signal) {
    let version = resourceVersion;
    try {
      for await (const events of this.#api.watch(this.kind.path(), { resourceVersion, signal })) {
        for (const { type, object } of events) {
          if (type === "ERROR") throw new ApiError(object.code, object.reason, object.message);
          version = object.metadata.resourceVersion;
          if (type === "BOOKMARK") continue;
          const kept = slim(this.kind, object);
          const key = keyOf(kept);
          const before = this.items.get(key);
          if (type === "DELETED") this.items.delete(key);
          else this.items.set(key, kept);
          this.#onEvent({ type, kind: this.kind, object: kept, before, at: Date.now() });
        }
        if (this.state !== "live") this.state = "live";
        this.#tell();
      }
    } catch (error) {
      if (error instanceof ApiError || signal.aborted) throw error;
      // The connection broke: the same again, from where we were.
      this.error = error;
      this.#tell("broken");
      await pause(RETRY_MILLISECONDS[1], signal);
    }
    return version;
  }
}

export class Collections {
  #made = new Map();
  #taps = new Set();

  constructor(api) {
    this.api = api;
  }

  of(plural) {
    if (!this.#made.has(plural)) {
      const tell = (change) => {
        for (const tap of this.#taps) tap(change);
      };
      this.#made.set(plural, new Collection(this.api, KINDS[plural], tell));
    }
    return this.#made.get(plural);
  }

  // Hears every change of every collection that runs.
  tap(listener) {
    this.#taps.add(listener);
    return () => this.#taps.delete(listener);
  }

  // "live" if all that run are, else the worst.
  get health() {
    const states = [...this.#made.values()].map((each) => each.state);
    return ["broken", "loading", "live"].find((state) => states.includes(state)) ?? "idle";
  }

  stop() {
    for (const collection of this.#made.values()) collection.stop();
    this.#made.clear();
  }
}
