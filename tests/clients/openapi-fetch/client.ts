/** The calls of life.ts, made with openapi-fetch and the types of openapi-typescript. */

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type ErrorBody = components["schemas"]["ErrorBody"];
export type Session = components["schemas"]["Session"];
type NewData = components["schemas"]["NewData"];
type Changes = components["schemas"]["Changes"];
type Options = { ttl?: number; no_resave?: boolean };

/** The app of the checks. */
export const app = "openapi-fetch";

export function connect(baseUrl: string) {
  const client = createClient<paths>({
    baseUrl,
    // Without a signal, fetch waits for minutes.
    fetch: (request) => fetch(request, { signal: AbortSignal.timeout(5000) }),
  });
  return {
    ping: () => client.GET("/ping", { parseAs: "text" }),
    create: (app: string, id: string, ip: string, body?: NewData, options: Options = {}) =>
      client.PUT("/{app}/create/{id}", { params: { path: { app, id }, query: { ip, ...options } }, body }),
    get: (app: string, token: string) => client.GET("/{app}/get/{token}", { params: { path: { app, token } } }),
    set: (app: string, token: string, body?: Changes, unset?: string[]) =>
      client.POST("/{app}/set/{token}", { params: { path: { app, token }, query: { unset } }, body }),
    // The names of d are joined with commas; the default would repeat the parameter.
    auth: (app: string, token: string, query: { d?: string[]; touch?: 0 | 1 } = {}) =>
      client.GET("/{app}/auth", {
        params: { path: { app }, query, header: { "X-Session-Token": token } },
        querySerializer: { array: { style: "form", explode: false } },
      }),
    kill: (app: string, token: string) => client.DELETE("/{app}/kill/{token}", { params: { path: { app, token } } }),
    soid: (app: string, id: string) => client.GET("/{app}/soid/{id}", { params: { path: { app, id } } }),
    soapp: (app: string, dt: number) => client.GET("/{app}/soapp", { params: { path: { app }, query: { dt } } }),
    activity: (app: string, dt: number) => client.GET("/{app}/activity", { params: { path: { app }, query: { dt } } }),
    killsoid: (app: string, id: string) => client.DELETE("/{app}/killsoid/{id}", { params: { path: { app, id } } }),
    killall: (app: string) => client.DELETE("/{app}/killall", { params: { path: { app } } }),
  };
}
