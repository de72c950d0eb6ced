// One redis-sessions, driven over pipes: each line in is {"call":NAME,"with":OPTIONS}, each line out {"answer":ANSWER} or
// {"error":TEXT}, in the same order.
//
//   node peer.js VERSION OPTIONS     3 or 4, and JSON: what the library's constructor takes, and perhaps "now"
//
// With "now", seconds since the Unix epoch, time stands still, and the call `advance` moves it: Date and the library's own
// timer (setInterval), nothing else. The library itself stays as it is.
'use strict';

const { createInterface } = require('node:readline');
const { mock } = require('node:test');
const { promisify } = require('node:util');

const OPERATIONS = ['create', 'get', 'set', 'activity', 'soapp', 'soid', 'kill', 'killsoid', 'killall'];

// Version 3 takes callbacks. Its answer for a session that does not exist is {}.
function version3(options) {
    const RedisSessions = require('redis-sessions-3');
    const sessions = new RedisSessions(options);
    return Object.fromEntries(OPERATIONS.map(name => [name, promisify(sessions[name])]));
}

// Version 4 returns promises, says deltaTime for dt, and null where there is no session.
function version4(options) {
    const RedisSessions = require('redis-sessions-4').default;
    const sessions = new RedisSessions(options);
    const call = async (name, { dt, ...rest }) => (await sessions[name](dt ? { ...rest, deltaTime: dt } : rest)) ?? {};
    return Object.fromEntries(OPERATIONS.map(name => [name, options => call(name, options)]));
}

async function main([version, text]) {
    const { now, ...settings } = JSON.parse(text);
    if (now) {
        mock.timers.enable({ apis: ['Date', 'setInterval'], now: now * 1000 });
    }
    const peer = { 3: version3, 4: version4 }[version](settings);
    peer.advance = async ({ seconds }) => {
        mock.timers.tick(seconds * 1000);
        return null;
    };
    for await (const line of createInterface({ input: process.stdin })) {
        const { call, with: options } = JSON.parse(line);
        const answered = peer[call](options).then(answer => ({ answer }), error => ({ error: `${error}` }));
        process.stdout.write(`${JSON.stringify(await answered)}\n`);
    }
    // The end of the input. Connections that are still open would keep the process.
    process.exit(0);
}

main(process.argv.slice(2));
