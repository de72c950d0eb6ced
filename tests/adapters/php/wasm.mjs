// Serves an app with another PHP version, compiled to WebAssembly: wasm.mjs VERSION PORT APP.PHP HANDLER.PHP
//
// Needs Node 24 with --experimental-wasm-jspi. Otherwise the compiled PHP has no network in a save handler.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { loadNodeRuntime } from "@php-wasm/node";
import { PHP, setPhpIniEntries } from "@php-wasm/universal";

const [version, port, app, handler] = process.argv.slice(2);
const php = new PHP(await loadNodeRuntime(version, { emscriptenOptions: { processId: 1 } }));
php.mkdir("/app");
php.writeFile("/app/app.php", readFileSync(app));
php.writeFile("/app/RestSessionHandler.php", readFileSync(handler));
await setPhpIniEntries(php, {
  "session.gc_maxlifetime": "1200",
  display_errors: "0",
  log_errors: "1",
  "zend.exception_ignore_args": "0",
  "zend.exception_string_param_max_len": "100",
});
const env = { REST_SESSIONS_URL: process.env.REST_SESSIONS_URL, REST_SESSIONS_APP: process.env.REST_SESSIONS_APP };

async function answer(request, response) {
  const got = await php.run({
    scriptPath: "/app/app.php",
    relativeUri: request.url,
    method: request.method,
    headers: request.headers,
    env,
    $_SERVER: { ...env, REMOTE_ADDR: "127.0.0.1", QUERY_STRING: request.url.split("?")[1] ?? "" },
  });
  if (got.errors) console.error(got.errors);
  response.writeHead(got.httpStatusCode, got.headers);
  response.end(got.bytes);
}

// Serialises requests, because there is only one PHP instance.
let last = Promise.resolve();
createServer((request, response) => {
  last = last.then(() => answer(request, response)).catch((error) => {
    console.error(error.message ?? error, error.response?.errors ?? "");
    response.writeHead(error.response?.httpStatusCode ?? 500, error.response?.headers ?? {});
    response.end(error.response?.bytes);
  });
}).listen(Number(port), "127.0.0.1");
