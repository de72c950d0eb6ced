/** The calls of life.ts, made with the client of @hey-api/openapi-ts. */

import { createClient } from "./generated/client/index.js";
import * as api from "./generated/index.js";

export type { ErrorBody, Session } from "./generated/index.js";
type Options = { ttl?: number; no_resave?: boolean };

/** The app of the checks. */
export const app = "hey-api";

export function connect(baseUrl: string) {
  const client = createClient({
    baseUrl,
    // Without a signal, fetch waits for minutes.
    fetch: (input, init) => fetch(input, { ...init, signal: AbortSignal.timeout(5000) }),
  });
  return {
    ping: () => api.ping({ client }),
    create: (app: string, id: string, ip: string, body?: api.NewData, options: Options = {}) =>
      api.create({ client, path: { app, id }, query: { ip, ...options }, body }),
    get: (app: string, token: string) => api.get({ client, path: { app, token } }),
    set: (app: string, token: string, body?: api.Changes, unset?: string[]) =>
      api.set({ client, path: { app, token }, query: { unset }, body }),
    auth: (app: string, token: string, query: { d?: string[]; touch?: 0 | 1 } = {}) =>
      api.auth({ client, path: { app }, query, headers: { "X-Session-Token": token } }),
    kill: (app: string, token: string) => api.kill({ client, path: { app, token } }),
    soid: (app: string, id: string) => api.soid({ client, path: { app, id } }),
    soapp: (app: string, dt: number) => api.soapp({ client, path: { app }, query: { dt } }),
    activity: (app: string, dt: number) => api.activity({ client, path: { app }, query: { dt } }),
    killsoid: (app: string, id: string) => api.killsoid({ client, path: { app, id } }),
    killall: (app: string) => api.killall({ client, path: { app } }),
  };
}
