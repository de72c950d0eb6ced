// Starts the processes of the test, and stops all of them in any case.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const { WORK, BINARY } = process.env;
const PATIENCE = 90_000; // ms: timeout for every wait

const running = new Set();
let count = 0;
let ending = false;

/** A process whose output goes to a file. */
class Part {
  constructor(name, command, options = {}) {
    if (ending) throw new Error("the test is about to end");
    this.name = name;
    this.output = join(WORK, `${++count}.out`);
    const file = openSync(this.output, "a");
    // In its own process group: Ctrl-C reaches only the test, which stops the parts in order.
    this.child = spawn(command[0], command.slice(1), { stdio: ["ignore", file, file], detached: true, ...options });
    this.child.on("error", (error) => appendFileSync(this.output, String(error)));
    this.ended = once(this.child, "close").then(([code]) => {
      running.delete(this);
      return code;
    });
    running.add(this);
  }

  get printed() {
    return readFileSync(this.output, "utf8");
  }

  /** Waits until the process has printed a pattern. */
  async says(pattern) {
    let found;
    await until(`${this.name} says ${pattern}`, () => {
      found = pattern.exec(this.printed);
      if (!found && !running.has(this)) throw new Error(`${this.name} ended: ${this.printed}`);
      return found;
    });
    return found;
  }

  /** Sends a signal, waits for the exit and returns the exit code. */
  async end(signal = "SIGTERM") {
    if (running.has(this)) this.child.kill(signal);
    return this.ended;
  }
}

export async function until(what, condition) {
  const deadline = Date.now() + PATIENCE;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`);
    await sleep(50);
  }
}

/** Stops all running processes in reverse order and prevents further starts. */
export async function endAll() {
  ending = true;
  for (const part of [...running].reverse()) await part.end();
}

/** Starts the example with its own command. */
export async function startSite(name, example, options, user) {
  const folder = join(WORK, "tmp");
  const command = [join(example, "start.py"), ...options];
  if (user) command.unshift("setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups");
  const part = new Part(name, command, { cwd: "/", env: { ...process.env, TMPDIR: folder } });
  const [, url] = await part.says(/^(http:\S+)\/ is the site/m);
  const [, service, state] = await part.says(/^(\S+) is rest-sessions, .* in (\S+)$/m);
  return { part, url, service, state };
}

export async function startRedis(name) {
  const folder = join(WORK, name);
  mkdirSync(folder, { recursive: true });
  const socket = join(folder, "redis.sock");
  const part = new Part(name, ["redis-server", "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "",
    "--appendonly", "yes", "--appendfsync", "always"]);
  await part.says(/ready to accept connections/i);
  return { part, url: `redis+unix://${socket}` };
}

export async function startService(name, port = 0) {
  const env = { PATH: process.env.PATH, RS_PORT: port, RS_DRAIN_DELAY: 0, RS_DATA_DIR: join(WORK, `${name}-data`) };
  const part = new Part(name, [BINARY], { env });
  const [, url] = await part.says(/listening on (http:\S+)/);
  return { part, url };
}

/** Returns the processes that run in a folder, as { pid, program }. */
export function processesIn(folder) {
  const link = (pid, name) => {
    try {
      return readlinkSync(`/proc/${pid}/${name}`);
    } catch {
      return ""; // the process has exited, or belongs to another user
    }
  };
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name))
    .filter((pid) => link(pid, "cwd").startsWith(folder))
    .map((pid) => ({ pid: Number(pid), program: basename(link(pid, "exe")) }));
}

/** Returns the logs of all parts of a site. */
export function logs(state) {
  return readdirSync(state).filter((name) => name.endsWith(".log"))
    .map((name) => readFileSync(join(state, name), "utf8")).join("");
}
