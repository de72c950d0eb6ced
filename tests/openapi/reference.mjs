/**
 * Renders openapi.yaml as docs/http-api.html with Redoc. The page loads docs/redoc.js and nothing from the network.
 *
 *     node reference.mjs           writes the page and the script
 *     node reference.mjs --check   fails if the files in docs/ are not up to date
 */

import { execFileSync } from "node:child_process";
import { readFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = import.meta.dirname;
const docs = join(here, "../../docs");

/** openapi.yaml as JSON, with all comments gone. */
function documentAsJson() {
  const folder = mkdtempSync(join(tmpdir(), "reference-"));
  try {
    const file = join(folder, "openapi.json");
    const redocly = join(here, "node_modules/.bin/redocly");
    const env = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
    execFileSync(redocly, ["bundle", join(here, "../../openapi.yaml"), "--output", file], { env, stdio: "pipe" });
    return JSON.stringify(JSON.parse(readFileSync(file, "utf8")), null, 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// A script element ends at "</script", so "<" is escaped.
const page = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>rest-sessions: HTTP API</title>
<style>body { margin: 0 } td:nth-child(2) code { white-space: nowrap }</style>
<div id="reference"></div>
<script src="redoc.js"></script>
<script>
const contract = ${documentAsJson().replaceAll("<", "\\u003c")};
const fonts = { fontFamily: "system-ui, sans-serif", headings: { fontFamily: "system-ui, sans-serif" } };
Redoc.init(contract, { theme: { typography: fonts }, disableSearch: true }, document.getElementById("reference"));
</script>
</html>
`;

const redoc = join(here, "node_modules/redoc");
const NO_IMAGE = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E";
// Redoc would load its own logo from a CDN, and a browser its source map.
const script = readFileSync(join(redoc, "bundles/redoc.standalone.js"), "utf8")
  .replaceAll("https://cdn.redoc.ly/redoc/logo-mini.svg", NO_IMAGE)
  .replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n");
const licences = [join(redoc, "LICENSE"), join(redoc, "bundles/redoc.standalone.js.LICENSE.txt")];
const files = {
  "http-api.html": page,
  "redoc.js": script,
  "redoc.LICENSE.txt": licences.map((file) => readFileSync(file, "utf8")).join("\n"),
};

let outdated = 0;
for (const [name, text] of Object.entries(files)) {
  const file = join(docs, name);
  if (!process.argv.includes("--check")) {
    writeFileSync(file, text);
  } else if (readFileSync(file, "utf8") !== text) {
    console.error(`docs/${name} is out of date: run node tests/openapi/reference.mjs`);
    outdated += 1;
  }
}
process.exit(outdated ? 1 : 0);
